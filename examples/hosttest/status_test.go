package hosttest

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
)

// statuses has the answer to a client for each of berth's errors.
var statuses = map[string]struct {
	err   error
	want  int
	again bool // with Retry-After
}{
	"ErrSessionNotFound": {berth.ErrSessionNotFound, 404, false},
	"ErrSessionStarting": {berth.ErrSessionStarting, 503, true},
	"ErrUnavailable":     {berth.ErrUnavailable, 503, true},
	"ErrDestroying":      {berth.ErrDestroying, 503, true},
	"ErrTaskConflict":    {berth.ErrTaskConflict, 409, false},
	"ErrNoCapacity":      {berth.ErrNoCapacity, 503, true},
	"ErrAccessDenied":    {berth.ErrAccessDenied, 403, false},
	"ErrInvalid":         {berth.ErrInvalid, 400, false},
	"ErrInstanceLost":    {berth.ErrInstanceLost, 502, false},
	"ErrContainerLost":   {berth.ErrContainerLost, 502, false},
	"ErrOutOfMemory":     {berth.ErrOutOfMemory, 500, false}, // look reports such a run by its state, not as an error
	"ErrOutputCut":       {berth.ErrOutputCut, 503, true},
	"ErrExpired":         {berth.ErrExpired, 410, false},
	"ErrUnsaved":         {berth.ErrUnsaved, 500, false}, // it stands beside the reason of an end
	"ErrTerminated":      {berth.ErrTerminated, 410, false},
	"ErrAbandoned":       {berth.ErrAbandoned, 503, true},
	"ErrSuspended":       {berth.ErrSuspended, 503, true},
	"ErrNoPlanner":       {berth.ErrNoPlanner, 503, true},
	"ErrClosed":          {berth.ErrClosed, 503, true},
	"ErrQuota":           {berth.ErrQuota, 429, false}, // a *QuotaError says when
	"ErrOverLimit":       {berth.ErrOverLimit, 410, false},
	"ErrRevoked":         {berth.ErrRevoked, 403, false},
}

func TestStatus(t *testing.T) {
	check := func(name string, err error, want int, again bool) {
		t.Helper()
		w := httptest.NewRecorder()
		Refuse(w, err)
		if w.Code != want || (w.Header().Get("Retry-After") != "") != again {
			t.Errorf("%s: %d, Retry-After %q, want %d, %v", name, w.Code, w.Header().Get("Retry-After"), want, again)
		}
	}
	for name, s := range statuses {
		check(name, s.err, s.want, s.again)
		check(name+" in another", fmt.Errorf("session s-1: %w", s.err), s.want, s.again)
	}
	check("a field", &berth.FieldError{Field: "SessionRequest.UserID", Reason: "is required"}, 400, false)
	check("git's", &berth.StartError{Phase: "fetching", Err: &agent.GitError{Op: "clone", Message: "fatal: repository not found"}}, 422, false)
	check("a start without capacity", &berth.StartError{Phase: "placing", Err: berth.ErrNoCapacity}, 503, true)
	check("too late", context.DeadlineExceeded, 503, true)
	check("a run", errNoRun, 404, false)
	check("any other", errors.New("disk on fire"), 500, false)
}

// TestEveryErrorHasAStatus reads the sentinels from berth's source, so it finds a new one without a status.
func TestEveryErrorHasAStatus(t *testing.T) {
	files, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, spec := range d.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if !strings.HasPrefix(name.Name, "Err") {
						continue
					}
					found++
					if _, ok := statuses[name.Name]; !ok {
						t.Errorf("berth.%s has no status here", name.Name)
					}
				}
			}
		}
	}
	if found != len(statuses) {
		t.Errorf("berth has %d errors, and %d have a status here", found, len(statuses))
	}
}
