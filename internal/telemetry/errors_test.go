package telemetry

import (
	"os"
	"regexp"
	"slices"
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
	words := map[string]bool{errorOther: true, "git": true, "exit": true, "signal": true, "cut": true, "stream": true, errorContent: true}
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

// TestErrorsHaveATypeEach: an operator does not see _OTHER for an error that berth documents.
func TestErrorsHaveATypeEach(t *testing.T) {
	known, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	without := []string{
		"errs.ErrUnsaved",                                                        // stands beside the reason of an end
		"errs.ErrOutputCut",                                                      // wraps its reason
		"errs.ErrNoPlanner",                                                      // of Health alone
		"pool.ErrAnotherWay",                                                     // stands beside one of the cloud's
		"pool.ErrNoSlot", "pool.ErrState", "store.ErrNotFound", "store.ErrNoUID", // do not leave berth's own work
	}
	declared := regexp.MustCompile(`(?m)^\t?(?:var )?(Err[A-Z]\w*) += `)
	for name, file := range map[string][]string{
		"errs": {"../errs/errs.go"}, "pool": {"../../pool/cloud.go", "../../pool/place.go", "../../pool/wish.go"},
		"orchestrator": {"../../orchestrator/engine.go", "../../orchestrator/isolation.go", "../../orchestrator/snapshots.go"},
		"agent":        {"../../agent/errors.go"}, "store": {"../../store/store.go", "../../store/uids.go"},
	} {
		found := 0
		for _, one := range file {
			text, err := os.ReadFile(one)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range declared.FindAllStringSubmatch(string(text), -1) {
				found++
				full := name + "." + e[1]
				if has := regexp.MustCompile(`\{` + full + `,`).Match(known); has == slices.Contains(without, full) {
					t.Errorf("%s has an error.type: %v", full, has)
				}
			}
		}
		if found < len(file) {
			t.Errorf("%s declares %d errors", name, found)
		}
	}
}

// TestEndReasonsAreDocumented: docs/metrics.md lists each reason for which a session ends.
func TestEndReasonsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, found := strings.Cut(string(text), "\n| `berth.session.end.reason` |")
	row, _, _ = strings.Cut(row, "\n")
	words, err := os.ReadFile("../../store/words.go")
	if err != nil || !found {
		t.Fatal(err, found)
	}
	reasons := regexp.MustCompile(`EndReason = "([^"]+)"`).FindAllStringSubmatch(string(words), -1)
	if len(reasons) < 11 {
		t.Fatalf("store/words.go has %d reasons", len(reasons))
	}
	for _, reason := range reasons {
		if !strings.Contains(row, "`"+reason[1]+"`") {
			t.Errorf("docs/metrics.md does not list the reason %q", reason[1])
		}
	}
}
