package telemetry

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestErrorTypesAreDocumented: docs/metrics.md lists every value of error.type, and no other.
func TestErrorTypesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "The values of `error.type`:\n")
	table, _, ended := strings.Cut(table, "\n## ")
	if !found || !ended {
		t.Fatal("docs/metrics.md has no table of values of error.type")
	}
	documented := make(map[string]bool)
	for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		documented[word[1]] = true
	}
	words := map[string]bool{errorOther: true, "git": true, "exit": true, "signal": true, "cut": true}
	for _, e := range errorTypes {
		words[e.word] = true
	}
	for word := range words {
		if !documented[word] {
			t.Errorf("%s is not documented", word)
		}
	}
	for word := range documented {
		if !words[word] {
			t.Errorf("%s is documented, and no error has it", word)
		}
	}
}
