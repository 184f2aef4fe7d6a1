package naming_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

// folding are the hosts whose paths the tables spell in their own case.
var folding = map[string]bool{"github.com": true, "gitlab.com": true, "bitbucket.org": true}

// remoteCase is one row of testdata/giturls.jsonl.
type remoteCase struct {
	URL       string `json:"url"`
	Host      string `json:"host"`
	Port      string `json:"port"`
	OwnerPath string `json:"owner_path"`
	Name      string `json:"name"`
	Valid     bool   `json:"valid"`
	Note      string `json:"note"`
}

func TestParseRepositoryTable(t *testing.T) {
	for _, c := range readJSONLines[remoteCase](t, "giturls.jsonl") {
		t.Run(c.URL, func(t *testing.T) {
			got, err := naming.ParseRepository(c.URL)
			if !c.Valid {
				if !errors.Is(err, naming.ErrInvalid) {
					t.Fatalf("got %v, %v, want ErrInvalid (%s)", got, err, c.Note)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			host, path := c.Host, strings.TrimPrefix(c.OwnerPath+"/"+c.Name, "/")
			if c.Port != "" {
				host += ":" + c.Port
			}
			if folding[host] {
				path = strings.ToLower(path)
			}
			// The table says nothing of logins: see TestLogins.
			if want := (naming.Repository{Host: host, Path: path, Login: got.Login}); got != want {
				t.Errorf("got %v, want %v (%s)", got, want, c.Note)
			}
			if owner := got.Owner(); !strings.EqualFold(owner, c.OwnerPath) {
				t.Errorf("Owner() = %q, want %q", owner, c.OwnerPath)
			}
			if name := got.Name(); !strings.EqualFold(name, c.Name) {
				t.Errorf("Name() = %q, want %q", name, c.Name)
			}
		})
	}
}

// equivCase is one row of testdata/giturl_equiv.jsonl.
type equivCase struct {
	Same      []string `json:"same"`
	Different []string `json:"different"`
	Identity  string   `json:"identity"`
	Why       string   `json:"why"`
}

func TestEquivalents(t *testing.T) {
	for _, c := range readJSONLines[equivCase](t, "giturl_equiv.jsonl") {
		seen := map[naming.Repository]string{}
		for _, remote := range c.Same {
			got, err := naming.ParseRepository(remote)
			if err != nil {
				t.Errorf("%q: %v", remote, err)
				continue
			}
			if c.Identity != "" && got.String() != c.Identity {
				t.Errorf("%q: got %s, want %s", remote, got, c.Identity)
			}
			seen[got] = remote
		}
		if len(c.Same) > 0 && len(seen) != 1 {
			t.Errorf("these should be one repository: %v (%s)", seen, c.Why)
		}
		for _, remote := range c.Different {
			got, err := naming.ParseRepository(remote)
			if err != nil {
				continue // what is refused meets nothing
			}
			if other, ok := seen[got]; ok {
				t.Errorf("%q and %q should differ: %s", remote, other, c.Why)
			}
			seen[got] = remote
		}
	}
}

// TestHostile holds that every hostile value is refused, unless the table says
// that it is legal. Harmless are the task IDs and labels that are named here:
// they endanger only a program that uses them as a path or a Docker name.
func TestHostile(t *testing.T) {
	harmless := map[string]bool{
		"task/task":               true, // IDs are not file names: "Task" is another task
		"name/label/r":            true,
		"name/label/repo-A-b-h":   true,
		"name/label/deadbeefcafe": true, // labels are not container names
	}
	check := map[string]func(string) error{
		"repo":           func(s string) error { _, err := naming.ParseRepository(s); return err },
		"submodule url":  func(s string) error { _, err := naming.ParseRepository(s); return err },
		"submodule path": func(s string) error { _, err := naming.ParseRepository(s); return err },
		"branch":         naming.ValidateBranch,
		"task":           naming.ValidateTaskID,
		"name/label":     func(s string) error { return naming.ValidateLabel(s, "value") },
	}
	for _, line := range readLines(t, "hostile.txt") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "\t")
		var value string
		if err := json.Unmarshal([]byte(columns[1]), &value); err != nil {
			t.Fatal(err)
		}
		kind, git, why := columns[0], columns[2], columns[3]
		err := check[kind](value)
		legal := harmless[kind+"/"+value] || strings.Contains(git, "--branch=accepts")
		switch {
		case legal && err != nil:
			t.Errorf("%s %q: %v, but it is legal (%s)", kind, value, err, why)
		case !legal && !errors.Is(err, naming.ErrInvalid):
			t.Errorf("%s %q: got %v, want ErrInvalid (%s)", kind, value, err, why)
		}
	}
}

func readJSONLines[T any](t testing.TB, name string) []T {
	t.Helper()
	var rows []T
	for _, line := range readLines(t, name) {
		var row T
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v in %s", name, err, line)
		}
		rows = append(rows, row)
	}
	return rows
}

// readLines returns the lines of a file in testdata that are not empty.
func readLines(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if line := scanner.Text(); line != "" {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil || len(lines) == 0 {
		t.Fatalf("%s: %d lines, %v", name, len(lines), err)
	}
	return lines
}
