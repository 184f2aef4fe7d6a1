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
	// backdate is for clocks that are late: a new certificate is valid there too.
	backdate = time.Hour
	// afterlife is how much longer than the machine its certificate lives: a machine that should be gone and is not must
	// still be reachable for whoever wants to know why.
	afterlife = 30 * 24 * time.Hour
)

// ServerName is the name in the certificate of a launch's engine.
func ServerName(launchID string) string { return launchID + ".berth.invalid" }

// identity is a launch's.
type identity struct {
	cert, key []byte // PEM, of the engine. The key is a secret
	trust     []byte // PEM, of the authority whose only certificate that is
}

// newIdentity makes an identity that is valid for a machine that lives as long as maxAge from now.
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

// issue makes a key and its certificate. It fills in what all certificates have in common.
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

// parseCA reads the one certificate of an authority.
func parseCA(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it is no certificate in PEM")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("there is more in it than one certificate")
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
