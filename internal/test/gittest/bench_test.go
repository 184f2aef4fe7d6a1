package gittest_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/gittest"
)

func BenchmarkCreate(b *testing.B) {
	for name, history := range map[string]gittest.History{"small": gittest.Small(), "large": gittest.Large()} {
		b.Run(name, func(b *testing.B) {
			server := gittest.NewSmartServer(b)
			for b.Loop() {
				server.Create("owner/"+strings.ToLower(rand.Text()), history)
			}
		})
	}
}
