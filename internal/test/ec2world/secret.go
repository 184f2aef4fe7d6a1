package ec2world

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// BootPEM holds the PEM blocks in the user data of an instance.
type BootPEM struct{ CA, Server, Key []byte }

// BootPEM returns the PEM blocks of an instance, each of which must be there.
func (a *Account) BootPEM(i ec2test.Instance) (found BootPEM) {
	a.Helper()
	n := 0
	for block, rest := pem.Decode(i.UserData); block != nil; block, rest = pem.Decode(rest) {
		n++
		text := pem.EncodeToMemory(block)
		if block.Type == "PRIVATE KEY" {
			found.Key = text
		} else if cert, err := x509.ParseCertificate(block.Bytes); err != nil {
			a.Fatal(err)
		} else if cert.IsCA {
			found.CA = text
		} else {
			found.Server = text
		}
	}
	if n != 3 || found.CA == nil || found.Server == nil || found.Key == nil {
		a.Fatalf("the user data of %s has %d blocks of PEM: %+v", i.ID, n, found)
	}
	return found
}

// SpyStore is a store in memory that keeps every record that was ever put into it. Its type is not *memstore.Store, so
// that it counts as a durable store.
type SpyStore struct {
	store.Store
	mu  sync.Mutex // protects put
	put []store.Record
}

// NewSpyStore returns an empty store.
func NewSpyStore() *SpyStore { return &SpyStore{Store: memstore.New()} }

// Update implements store.Store.
func (s *SpyStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	return s.Store.Update(ctx, keys, func(tx store.Tx) error {
		return fn(world.WatchPuts(tx, func(r store.Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.put = append(s.put, r.Clone())
		}))
	})
}

// Texts returns every record that was put, as JSON. Values that are base64 in JSON follow as plain bytes.
func (s *SpyStore) Texts() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.put {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // records survive encoding/json
		}
		switch r := r.(type) {
		case *store.Pool:
			text = append(append(text, r.ClientCA...), r.ClientKey...)
		case *store.Instance:
			text = append(text, r.Frozen...)
		}
		all = append(all, string(text))
	}
	return all
}

// ShowsSecret reports whether a text contains a secret, as it is or in base64. Of a PEM block it looks for the decoded
// bytes, and for the first line of the base64 text, which does not depend on how lines are joined.
func ShowsSecret(text string, secret []byte) bool {
	forms := [][]byte{secret}
	if block, _ := pem.Decode(secret); block != nil {
		forms = [][]byte{block.Bytes, bytes.Split(secret, []byte("\n"))[1]}
	}
	for _, form := range forms {
		if strings.Contains(text, string(form)) {
			return true
		}
		for shift := range 3 { // by the offset at which it begins among the encoded bytes
			code := base64.StdEncoding.EncodeToString(append(make([]byte, shift), form...))
			if strings.Contains(text, code[4:len(code)-4]) { // the ends depend on the neighbours
				return true
			}
		}
	}
	return false
}
