package hostboot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	// backdate makes a new certificate valid also where the clock is slow.
	backdate = time.Hour
	// afterlife is how much longer than the machine its certificate is valid: somebody may have to reach a machine that
	// should have ended, to learn why it has not.
	afterlife = 30 * 24 * time.Hour
)

// ServerName returns the name in the certificate of a launch's engine.
func ServerName(launchID string) string { return launchID + ".berth.invalid" }

// identity is the identity of a launch.
type identity struct {
	cert, key []byte // PEM, of the engine. The key is a secret
	trust     []byte // PEM, of the authority, which has issued only that certificate
}

// newIdentity makes an identity for a machine that lives for maxAge from now.
func newIdentity(launchID string, maxAge time.Duration) (identity, error) {
	name := ServerName(launchID)
	ca, err := newAuthority("berth launch "+launchID, maxAge+afterlife)
	if err != nil {
		return identity{}, err
	}
	cert, key, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		NotAfter:    ca.cert.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return identity{}, err
	}
	id := identity{cert: encodeCert(cert), trust: encodeCert(ca.cert.Raw)}
	id.key, err = encodeKey(key)
	return id, err
}

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string, validity time.Duration) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return authority{cert, key}, err
}

// issue makes a key and its certificate. It sets the fields of template that all certificates have in common.
func (a authority) issue(template *x509.Certificate) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-backdate)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err = x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	return der, key, err
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// parseCA reads the certificate of an authority. text must hold no other.
func parseCA(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it is not a certificate in PEM")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("it holds more than one certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	if !cert.IsCA {
		return nil, errors.New("it is not the certificate of an authority")
	}
	return cert, nil
}
