package naming_test

import (
	"testing"

	"github.com/berth-go/berth/naming"
)

func BenchmarkParseRepository(b *testing.B) {
	for name, remote := range map[string]string{
		"https": "https://x-access-token:secret@github.com/anthropic/claude-code.git",
		"scp":   "git@gitlab.com:group/subgroup/project.git",
		"azure": "https://dev.azure.com/contoso/My%20Project/_git/shop",
		"page":  "https://github.com/anthropic/claude-code/tree/main",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = naming.ParseRepository(remote)
			}
		})
	}
}

func BenchmarkContainerName(b *testing.B) {
	key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "anthropic/claude-code"}, Scope: "main"}
	b.ReportAllocs()
	for b.Loop() {
		_ = key.ContainerName("berth")
	}
}
