package secrets_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/secrets"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// TestASecretIsFoundInEachSpelling plants a leak in each.
func TestASecretIsFoundInEachSpelling(t *testing.T) {
	for name, spell := range map[string]func(secret []byte) []byte{
		"as it is": func(s []byte) []byte { return s },
		"in the userinfo of a URL": func(s []byte) []byte {
			return []byte("https://" + url.UserPassword("robot", "p@:/ "+string(s)).String() + "@host/")
		},
		"escaped for a query": func(s []byte) []byte { return []byte("password=" + url.QueryEscape("p@:/ "+string(s))) },
		"as Basic credentials": func(s []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(append([]byte("robot:"), s...)))
		},
		"as credentials of a longer user": func(s []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(append([]byte("robots:"), s...)))
		},
		"as credentials of a longest user": func(s []byte) []byte {
			return []byte(base64.StdEncoding.EncodeToString(append([]byte("robots2:"), s...)))
		},
		"in base64 for URLs": func(s []byte) []byte { return []byte(base64.RawURLEncoding.EncodeToString(s)) },
		"in hex":             func(s []byte) []byte { return []byte(hex.EncodeToString(s)) },
		"in capital hex":     func(s []byte) []byte { return fmt.Appendf(nil, "%X", s) },
		"as bytes by fmt":    func(s []byte) []byte { return fmt.Append(nil, append(append([]byte("a"), s...), 'b')) },
		"as bytes in Go":     func(s []byte) []byte { return fmt.Appendf(nil, "%#v", append(append([]byte("a"), s...), 'b')) },
		"as bytes in JSON":   func(s []byte) []byte { text, _ := json.Marshal(struct{ Frozen []byte }{s}); return text },
	} {
		t.Run(name, func(t *testing.T) {
			s := secrets.New()
			s.Look("a place", "here", spell([]byte(s.Plant("leaked"))))
			s.Look("a place", "there", spell([]byte("nothing"+strings.Repeat("x", 30))))
			s.Look("a key's place", "here", spell(s.Key("key", 32)))
			if name != "in the userinfo of a URL" && name != "escaped for a query" { // which are for texts
				if faults := s.Check("key", "a key's place"); len(faults) != 1 || !strings.Contains(faults[0], "leaked is in a place: here") {
					t.Errorf("got %q", faults)
				}
			}
			if faults := s.Check("leaked", "a place", "elsewhere"); !strings.Contains(faults[len(faults)-1], "on purpose in elsewhere") {
				t.Errorf("got %q", faults)
			}
		})
	}
}

// TestASecretIsFoundInValues plants a leak in a record, in an error behind others, and in a line of the log.
func TestASecretIsFoundInValues(t *testing.T) {
	s := secrets.New()
	leaked := s.Plant("leaked")
	s.Plant("kept")
	s.Error(fmt.Errorf("cannot: %w", errors.Join(errors.New("first"), hidden{leaked})))
	slog.New(slog.NewJSONHandler(s, nil)).Info("fetching", "url", "https://robot:"+leaked+"@host/")
	s.Value("a value", struct{ Env map[string]string }{map[string]string{"TOKEN": leaked}})
	err := s.Store(memstore.New()).Update(t.Context(), nil, func(tx store.Tx) error {
		return tx.Put(&store.Instance{ID: "i", Frozen: []byte(leaked)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if faults := s.Check("leaked", "an error", "the log", "a value", "a record"); len(faults) > 0 {
		t.Errorf("got %q", faults)
	}
}

// hidden is an error that does not show its secret by itself.
type hidden struct{ secret string }

func (hidden) Error() string { return "refused" }
