package naming_test

import (
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

// TestScopesDiffer: a value that looks like another part is not that part.
func TestScopesDiffer(t *testing.T) {
	of := func(s string) *string { return &s }
	long := strings.Repeat("é", 200)
	scopes := []naming.Scope{
		{}, {User: of("")}, {User: of("ann")}, {Tenant: of("ann")}, {Branch: of("ann")}, {Host: of("ann")}, {Task: of("ann")},
		{User: of("ann"), Branch: of("main")}, {User: of("ann&branch=main")}, {User: of("ann%26branch%3Dmain")},
		{Tenant: of("ann"), User: of("main")}, {Host: of("task=ann")}, {Host: of("user=ann")}, {User: of("ann+bob")}, {User: of("ann bob")},
		{Tenant: of(long), User: of("a")}, {Tenant: of(long + "a"), User: of("")}, {Tenant: of(long + "&user=a")},
		{Task: of(long)}, {Task: of(long + "b")}, {Host: of("sha256=0")},
	}
	seen := make(map[string]int)
	for i, s := range scopes {
		text := s.String()
		if other, ok := seen[text]; ok {
			t.Errorf("%d and %d are both %q", other, i, text)
		}
		seen[text] = i
		if len(text) > 256 {
			t.Errorf("%d has %d bytes", i, len(text))
		}
		k := naming.Key{Repository: naming.Repository{Host: "host.xz", Path: "o/r"}, Scope: text}
		if got, err := naming.ParseKey(k.String()); err != nil || got != k {
			t.Errorf("%q became %v, %v", text, got, err)
		}
		if k.Private() != (s.Task != nil) {
			t.Errorf("%q: private: %v", text, k.Private())
		}
	}
}
