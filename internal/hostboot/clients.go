package hostboot

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	clientCAValidity = 10 * 365 * 24 * time.Hour
	clientValidity   = 24 * time.Hour // of a certificate; it is renewed after half of it
)

// NewClientCA makes the certificate authority of a pool's clients. It is made once per pool and is valid for ten years. The
// owner of the key is root on every host of the pool: keep the key sealed.
func NewClientCA(pool string) (certPEM, keyPEM []byte, err error) {
	ca, err := newAuthority("berth clients of "+pool, clientCAValidity)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(ca.key)
	return encodeCert(ca.cert.Raw), keyPEM, err
}

// Clients connects to the engines of a pool's launches. It is safe for concurrent use.
type Clients struct {
	ca authority

	mu      sync.Mutex // protects what follows
	current *tls.Certificate
	made    time.Time     // when current was made
	renewal time.Duration // the age at which it is renewed
}

// NewClients returns Clients that use certificates of a pool's client authority.
func NewClients(certPEM, keyPEM []byte) (*Clients, error) {
	cert, err := parseCA(certPEM)
	if err != nil {
		return nil, fmt.Errorf("hostboot: the client authority: %w", err)
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, errors.New("hostboot: the key of the client authority is not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("hostboot: the key of the client authority cannot be read") // err may quote it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("hostboot: the key of the client authority is not that of its certificate")
	}
	return &Clients{ca: authority{cert, key}}, nil
}

// TLS returns the configuration of a client that connects to the engine of one launch only. trust is the launch's trust, as
// Boot returned it. The configuration can be used as long as the launch lives.
func (c *Clients) TLS(launchID, trust string) (*tls.Config, error) {
	ca, err := parseCA([]byte(trust))
	if err != nil {
		return nil, fmt.Errorf("hostboot: the trust of launch %s: %w", launchID, err)
	}
	if launchID == "" {
		return nil, errors.New("hostboot: no launch ID") // without a server name, a client would check the address instead
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		RootCAs:              roots,
		ServerName:           ServerName(launchID),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate() },
		MinVersion:           tls.VersionTLS13,
	}, nil
}

// certificate returns a certificate that is valid for hours to come.
func (c *Clients) certificate() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && usable(c.made, now, c.renewal) {
		return c.current, nil
	}
	until := now.Add(clientValidity)
	if end := c.ca.cert.NotAfter; until.After(end) {
		if !now.Before(end) {
			return nil, fmt.Errorf("hostboot: the client authority of the pool has expired on %s", end.Format(time.DateOnly))
		}
		until = end
	}
	der, key, err := c.ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "berth manager"},
		NotAfter:    until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("hostboot: making a client certificate: %w", err)
	}
	c.current = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.made, c.renewal = now, until.Sub(now)/2
	return c.current, nil
}

// usable reports whether a certificate has not reached the age of its renewal, by the monotonic clock and by the wall clock.
// A certificate that was made before the wall clock was set may be valid on no other machine.
func usable(made, now time.Time, renewal time.Duration) bool {
	wall := now.Round(0).Sub(made.Round(0))
	return now.Sub(made) < renewal && wall >= 0 && wall < renewal
}
