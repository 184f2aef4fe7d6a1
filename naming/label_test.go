package naming_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

func TestValidateLabel(t *testing.T) {
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"team", "payments", true},
		{"k", "", true},
		{"example.com/cost-center", "A 12, \u00fcber: 3=4", true},
		{"com.dockerish", "x", true},
		{"berths", "x", true},
		{strings.Repeat("k", naming.MaxLabelKeyLen), strings.Repeat("v", naming.MaxLabelValueLen), true},
		{"", "x", false},
		{strings.Repeat("k", naming.MaxLabelKeyLen+1), "x", false},
		{"k", strings.Repeat("v", naming.MaxLabelValueLen+1), false},
		{"a=b", "x", false},
		{"a b", "x", false},
		{"-a", "x", false},
		{"a.", "x", false},
		{"caf\u00e9", "x", false},
		{"aws:name", "x", false},
		{"AWS:name", "x", false},
		{"com.docker.compose.project", "x", false},
		{"io.docker.x", "x", false},
		{"org.dockerproject.x", "x", false},
		{"Berth.pool", "x", false},
		{"k", "a\nb", false},
		{"k", "a\x00b", false},
		{"k", "a\xffb", false},
		{"k", "a\u202eb", false},
	} {
		err := naming.ValidateLabel(c.key, c.value)
		if c.ok && err != nil || !c.ok && !errors.Is(err, naming.ErrInvalid) {
			t.Errorf("ValidateLabel(%q, %.20q) = %v, want ok = %t", c.key, c.value, err, c.ok)
		}
	}
}
