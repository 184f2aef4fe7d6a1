package agent_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// TestARemoteThatDoesNotSayItsHEAD hangs when it is asked for that, and fails the fetch, or does not.
func TestARemoteThatDoesNotSayItsHEAD(t *testing.T) {
	for name, fails := range map[string]bool{"and fails": true, "and serves": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			hung := make(chan struct{}, 10)
			silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, err := io.ReadAll(req.Body)
				switch {
				case err != nil || bytes.Contains(body, []byte("ls-refs")) && !bytes.Contains(body, []byte("ref-prefix")):
					// Ls-remote asks for all refs, a fetch for those that it wants.
					hung <- struct{}{}
					<-req.Context().Done()
				case fails && len(body) > 0:
					http.Error(w, "broken", http.StatusInternalServerError)
				default:
					req.Body = io.NopCloser(bytes.NewReader(body))
					r.git.Config.Handler.ServeHTTP(w, req)
				}
			}))
			t.Cleanup(silent.Close)
			begun := time.Now()
			_, err := r.Fetch(testContext(t), agent.Fetch{URL: silent.URL + strings.TrimPrefix(r.url, r.git.URL)}, nil)
			if took := time.Since(begun); (err != nil) != fails || took > 40*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			if len(hung) == 0 {
				t.Error("it was not asked")
			}
		})
	}
}
