package git

import (
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestNoPartOfASecretIsKept, wherever the text is cut, and however it comes.
func TestNoPartOfASecretIsKept(t *testing.T) {
	const secret = "s3cret-t0ken-0123456789"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	for _, said := range []string{secret, encoded, "https://ann:" + secret + "@example.org/x"} {
		for _, end := range []string{"\n", ""} { // a line that has ended, and one that has not
			for _, filler := range []string{"y\n", "y"} {
				for after := maxWords - 2*len(said); after <= maxWords+10; after += 11 {
					text := strings.Repeat("x", maxLine) + said + end + strings.Repeat(filler, after/len(filler)) + end
					for _, size := range []int{len(text), 1000} {
						w := &lastWords{heard: new(atomic.Int64), secrets: []string{secret}}
						for rest := text; rest != ""; {
							n := min(size, len(rest))
							w.Write([]byte(rest[:n]))
							rest = rest[n:]
						}
						got := Scrub(w.String(), secret)
						if strings.Contains(got, "456789") || strings.Contains(got, encoded[len(encoded)-8:]) || len(got) > maxWords {
							t.Fatalf("%d bytes before the end there was a secret, and there is left: %.80q", after, got)
						}
					}
				}
			}
		}
	}
}

// TestStampsAreNoWallTimes: a step of the wall clock would otherwise end a fetch that goes on, or keep one that hangs.
func TestStampsAreNoWallTimes(t *testing.T) {
	w := &lastWords{heard: new(atomic.Int64)}
	before := stamp()
	w.Write([]byte("x"))
	heard := w.heard.Load()
	if after := stamp(); heard < before || heard > after {
		t.Errorf("heard at %d, between %d and %d", heard, before, after)
	}
	if since := time.Since(begun.Round(0)); time.Duration(heard) > since+time.Hour {
		t.Errorf("heard at %v, and the program began %v ago", time.Duration(heard), since)
	}
}
