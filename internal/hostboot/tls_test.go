package hostboot_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
)

const day = 24 * time.Hour

// engineTLS returns Docker's TLS configuration for the files in the user data.
func engineTLS(t *testing.T, userData []byte) *tls.Config {
	t.Helper()
	files := filesOf(userData)
	cert, err := tls.X509KeyPair([]byte(files["/etc/berth/tls/server.pem"].text), []byte(files["/etc/berth/tls/server-key.pem"].text))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM([]byte(files["/etc/berth/tls/client-ca.pem"].text)) {
		t.Fatal("no certificate of the clients' authority")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12,
	}
}

// handshake connects a client to a server and returns the error of each.
func handshake(client, server *tls.Config) (clientErr, serverErr error) {
	a, b := net.Pipe()
	defer a.Close()
	served := make(chan error, 1)
	go func() {
		defer b.Close()
		s := tls.Server(b, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("!"))
		}
		served <- err
	}()
	c := tls.Client(a, client)
	// The client learns whether the server accepts its certificate only with the first byte.
	_, clientErr = c.Read(make([]byte, 1))
	a.Close()
	return clientErr, <-served
}

func TestClientAndEngineKnowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := newPool(t), newPool(t)
		userData, trust := ours.boot(t, launch, hostboot.Options{MaxAge: 10 * day})
		neighbour, _ := ours.boot(t, launch+"x", hostboot.Options{})
		again, _ := ours.boot(t, launch, hostboot.Options{})

		try := func(what string, p pool, launch, trust string, server []byte, want string) {
			t.Helper()
			client, err := p.TLS(launch, trust)
			if err != nil {
				t.Fatal(err)
			}
			clientErr, serverErr := handshake(client, engineTLS(t, server))
			switch {
			case want == "" && (clientErr != nil || serverErr != nil):
				t.Errorf("%s: %v, %v", what, clientErr, serverErr)
			case want != "" && (clientErr == nil || serverErr == nil || !strings.Contains(clientErr.Error()+" "+serverErr.Error(), want)):
				t.Errorf("%s: %v, %v; want %q", what, clientErr, serverErr, want)
			}
		}
		try("the launch's own engine", ours, launch, trust, userData, "")
		try("another launch's", ours, launch, trust, neighbour, "not "+launch+".berth.invalid")
		try("one that has made the same name for itself", ours, launch, trust, again, "unknown authority")
		try("another name under the same authority", ours, launch+"x", trust, userData, "not "+launch+"x.berth.invalid")
		try("a client of another pool", theirs, launch, trust, userData, "unknown authority")

		nobody := &tls.Config{InsecureSkipVerify: true}
		if _, err := handshake(nobody, engineTLS(t, userData)); err == nil || !strings.Contains(err.Error(), "didn't provide a certificate") {
			t.Errorf("a client without a certificate: %v", err)
		}
		// The engine's own certificate opens no other engine.
		stolen := &tls.Config{InsecureSkipVerify: true, Certificates: engineTLS(t, userData).Certificates}
		if _, err := handshake(stolen, engineTLS(t, neighbour)); err == nil {
			t.Error("an engine's certificate is taken for a client's")
		}

		time.Sleep(39 * day) // less than 10 days and 30 more
		try("late in its life", ours, launch, trust, userData, "")
		time.Sleep(2 * day)
		try("expired", ours, launch, trust, userData, "expired")
	})
}

func TestServerCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		userData, trust := newPool(t).boot(t, launch, hostboot.Options{MaxAge: 7 * day})
		cert := parseCert(t, filesOf(userData)["/etc/berth/tls/server.pem"].text)
		ca := parseCert(t, trust)
		now := time.Now()
		if cert.NotBefore.After(now.Add(-time.Hour)) || !cert.NotAfter.Equal(now.Add(37*day)) || ca.NotAfter.Before(cert.NotAfter) {
			t.Errorf("valid from %s to %s, at %s; the authority to %s", cert.NotBefore, cert.NotAfter, now, ca.NotAfter)
		}
		if !slices.Equal(cert.DNSNames, []string{launch + ".berth.invalid"}) || len(cert.IPAddresses) > 0 {
			t.Errorf("it is for %v %v", cert.DNSNames, cert.IPAddresses)
		}
		if !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || cert.IsCA || !ca.IsCA {
			t.Errorf("usage %v, CA %t; the authority's CA %t", cert.ExtKeyUsage, cert.IsCA, ca.IsCA)
		}
		if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("the key is %T", cert.PublicKey)
		}
		if err := cert.CheckSignatureFrom(ca); err != nil {
			t.Error(err)
		}
	})
}

func TestClientCertificatesAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t)
		_, trust := p.boot(t, launch, hostboot.Options{})
		config, err := p.TLS(launch, trust)
		if err != nil {
			t.Fatal(err)
		}
		current := func() *x509.Certificate {
			t.Helper()
			c, err := config.GetClientCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(c.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			return cert
		}
		first := current()
		if time.Until(first.NotAfter) != day || !first.NotBefore.Equal(time.Now().Add(-time.Hour)) ||
			!slices.Equal(first.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
			t.Errorf("from %s to %s for %v", first.NotBefore, first.NotAfter, first.ExtKeyUsage)
		}
		time.Sleep(11 * time.Hour)
		if !current().Equal(first) {
			t.Error("it is renewed too early")
		}
		time.Sleep(2 * time.Hour)
		second := current()
		if second.Equal(first) || time.Until(second.NotAfter) != day {
			t.Errorf("half of its life is over, and it is valid until %s", second.NotAfter)
		}
		time.Sleep(10 * 365 * day)
		if _, err := config.GetClientCertificate(nil); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after the authority's end: %v", err)
		}
	})
}

func TestClientCertificateAfterTheClockWasSet(t *testing.T) {
	now, half := time.Now(), 12*time.Hour
	wall := now.Round(0) // a time without a reading of the monotonic clock is what a clock shows that was set
	for _, row := range []struct {
		made, now time.Time
		want      bool
	}{
		{now, now, true},
		{now, now.Add(half - 1), true},
		{now, now.Add(half), false},
		{now, wall.Add(time.Hour), true},
		{now, wall.Add(half), false},
		{now, wall.Add(-time.Second), false},
		{now, wall.Add(-30 * 24 * time.Hour), false},
	} {
		if got := hostboot.Usable(row.made, row.now, half); got != row.want {
			t.Errorf("made at %v, at %v: %t", row.made, row.now, got)
		}
	}
}

func TestClientsRefuseWhatDoesNotFit(t *testing.T) {
	cert, key, err := hostboot.NewClientCA("acme")
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := hostboot.NewClientCA("acme")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][2][]byte{
		"nothing": {nil, nil}, "no key": {cert, nil}, "another's key": {cert, otherKey}, "swapped": {key, cert},
		"a broken key": {cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})},
	} {
		if _, err := hostboot.NewClients(c[0], c[1]); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := newPool(t)
	_, trust := p.boot(t, launch, hostboot.Options{})
	for _, bad := range []string{"", "nonsense", trust + trust} {
		if _, err := p.TLS(launch, bad); err == nil {
			t.Errorf("trust %.20q is taken", bad)
		}
	}
	if _, err := p.TLS("", trust); err == nil {
		t.Error("a client without a launch")
	}
}

func parseCert(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %s", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
