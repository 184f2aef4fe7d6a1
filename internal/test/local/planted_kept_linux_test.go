package local_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// prepares is what is done ahead for sessions. Its layer is among the volume's files.
func (l *planting) prepares(naming.Repository) orchestrator.Prepare {
	return orchestrator.Prepare{Run: [][]string{{"sh", "-c", "mkdir -p built && id > built/id && sleep 0.3"}}, Files: []string{"README.md"}}
}

// prepared returns when a workspace is prepared.
func (l *planting) prepared() {
	l.T.Helper()
	select {
	case e := <-l.layers:
		if e.Err != nil {
			l.T.Errorf("no workspace is prepared: %v", e.Err)
		}
	case <-l.T.Context().Done():
		l.T.Error("no workspace is prepared")
	}
}

// keep keeps the work of a session, in which the control is.
func (l *planting) keep(s *berth.Session) {
	t := l.T
	local.Sh(t, s, "echo "+l.values[control]+" > note && git add note && git commit -qm note && echo "+l.values[control]+" > other")
	patch, err := s.Patch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer patch.Close()
	text, err := io.ReadAll(patch)
	if err != nil {
		t.Error(err)
	}
	l.search.Look("a patch", "Session.Patch", text)
	info, err := s.Snapshot(t.Context(), "monday")
	if err != nil {
		t.Fatal(err)
	}
	l.search.Value("what the Provider tells", info)
}

// kept searches all that is in the store of snapshots: what Session.Snapshot and Config.SaveWork have put there.
func (l *planting) kept() {
	t, kinds := l.T, make(map[orchestrator.SnapshotKind]int)
	for found, err := range l.snapshots.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		kinds[found.Name.Kind]++
		l.search.Look("a snapshot", "its name", []byte(found.Name.String()))
		content, _, err := l.snapshots.Open(t.Context(), found.Name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Error(err)
		}
		content.Close()
		place := "saved work"
		if found.Name.Kind != "work" { // work is a patch
			place = "a snapshot"
			packed := bytes.Index(text, []byte{0x28, 0xb5, 0x2f, 0xfd}) // the beginning of zstd; lines of JSON come before
			if packed < 0 {
				t.Fatalf("%s is not packed", found.Name)
			}
			z, err := zstd.NewReader(bytes.NewReader(text[packed:]))
			if err != nil {
				t.Fatal(err)
			}
			files, err := io.ReadAll(z)
			if err != nil || len(files) == 0 {
				t.Errorf("%s: %d bytes, %v", found.Name, len(files), err)
			}
			z.Close()
			l.search.Look(place, found.Name.String(), files)
		}
		l.search.Look(place, found.Name.String(), text)
	}
	for _, kind := range []orchestrator.SnapshotKind{orchestrator.SnapshotSession, "work"} { // and that of layers, with an agent that gives them
		if kinds[kind] == 0 {
			t.Errorf("the store of snapshots has %v", kinds)
		}
	}
}

// shows searches the pages of the dashboard, and their data.
func (l *planting) shows() {
	ctx, cancel := context.WithTimeout(l.T.Context(), 5*time.Minute)
	defer cancel()
	handler := dashboard.Handler(l.Provider, dashboard.Options{ShowArguments: true})
	pages := []string{"", "tasks?state=all", "instances", "queue", "events", "usage"}
	for r, err := range l.Repositories(ctx) {
		if err == nil {
			pages = append(pages, "repository?name="+url.QueryEscape(r.Repository.String()))
		}
	}
	all := berth.SessionFilter{States: []berth.SessionState{berth.SessionCreating, berth.SessionActive, berth.SessionTerminating, berth.SessionEnded}}
	for s, err := range l.ListSessions(ctx, all) {
		if err == nil {
			pages = append(pages, "tasks/"+s.ID())
		}
	}
	for _, page := range pages {
		for _, prefix := range []string{"/", "/api/"} {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest("GET", prefix+page, nil).WithContext(ctx))
			if answer.Code != 200 {
				l.T.Errorf("GET %s%s: %d", prefix, page, answer.Code)
			}
			l.search.Look("the dashboard", prefix+page, answer.Body.Bytes())
		}
	}
}
