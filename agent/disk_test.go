package agent_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// A task that takes too much of the disk, as a shell script, and what it is told.
var greed = map[string]struct{ script, reason string }{
	"a large file":               {`head -c 24m /dev/zero >"$TMPDIR/large"`, "disk: used "},
	"many empty files":           {`i=0; while [ $i -lt 2000 ]; do : >"$HOME/$i"; i=$((i+1)); done`, " of 1000 files"},
	"files in a deep directory":  {`i=0; while [ $i -lt 150 ]; do mkdir d && cd d; i=$((i+1)); done; head -c 24m /dev/zero >large`, "disk: used "},
	"directories that are moved": {`mkdir a b; head -c 24m /dev/zero >a/large; while :; do mv a c; mv b a; mv c b; done`, "disk: used "},
	"many medium files":          {`i=0; while [ $i -lt 60 ]; do head -c 512k /dev/zero >$i; ln $i l$i; i=$((i+1)); done`, "disk: used "},
}

// TestASessionThatFillsTheDiskIsEnded checks that its commands and its user are told why, and that nothing of it is left.
func TestASessionThatFillsTheDiskIsEnded(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, "-disk-bytes=16777216", "-disk-files=1000")
	r := startOn(t, a)
	r.session(t, "neighbour", 10001)
	r.run(t, "neighbour", `ln -s / root; mkdir kept; truncate -s 1T kept/sparse; head -c 10m /dev/zero >kept/file; i=0; while [ $i -lt 30 ]; do ln kept/file kept/$i; i=$((i+1)); done`)
	uid, seen := 10002, 0
	for name, g := range greed {
		id := strings.ReplaceAll(name, " ", "-")
		r.session(t, id, uid)
		p, err := r.Start(t.Context(), agent.Command{
			Session: id, Args: []string{"sh", "-c", g.script + "; sleep 1000"}, Stderr: io.Discard,
		})
		if err != nil {
			t.Fatal(err)
		}
		exit, err := p.Wait()
		if err != nil || exit.Signal != int(syscall.SIGKILL) || !strings.Contains(exit.OverLimit, g.reason) {
			t.Errorf("%s: the command ended with %+v, %v", name, exit, err)
		}
		ended, err := r.EndedSessions(t.Context(), seen)
		if err != nil || len(ended) != 1 || ended[0] != (agent.EndedSession{ID: id, Reason: exit.OverLimit, Number: seen + 1}) {
			t.Errorf("%s: Ended gives %v, %v", name, ended, err)
		}
		seen++
		_, err = r.Start(t.Context(), agent.Command{Session: id, Args: []string{"true"}})
		if !errors.Is(err, agent.ErrOverLimit) || !strings.Contains(err.Error(), g.reason) {
			t.Errorf("%s: a later command gives %v", name, err)
		}
		if open, err := r.Sessions(t.Context()); err != nil || open[id] != uid {
			t.Errorf("%s: Sessions gives %v, %v", name, open, err)
		}
		if err := r.CloseSession(t.Context(), id, uid); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(a.Dir, "sessions", id)); !os.IsNotExist(err) {
			t.Errorf("%s: its files are left: %v", name, err)
		}
		uid++
	}
	if out, _ := r.run(t, "neighbour", "cat kept/file | wc -c"); strings.TrimSpace(out) != "10485760" {
		t.Errorf("a neighbour has %q bytes", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if ended, err := r.EndedSessions(ctx, seen); ctx.Err() == nil {
		t.Errorf("Ended gives %v, %v although no other was ended", ended, err)
	}
}

// TestFilesWithAnAccompliceCount has a session that writes into the directory of another one. The writer is ended.
func TestFilesWithAnAccompliceCount(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, "-disk-bytes=16777216")
	r := startOn(t, a)
	r.session(t, "open", 10001)
	r.session(t, "writer", 10002)
	dir, _ := r.run(t, "open", `chmod 711 ..; mkdir -m 777 shared; cd shared; pwd`)
	p, err := r.Start(t.Context(), agent.Command{
		Session: "writer", Args: []string{"sh", "-c", "head -c 24m /dev/zero >" + strings.TrimSpace(dir) + "/large; sleep 1000"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || !strings.HasPrefix(exit.OverLimit, "disk: used ") {
		t.Errorf("the writer ended with %+v, %v", exit, err)
	}
	if out, _ := r.run(t, "open", "pwd"); out == "" {
		t.Error("the other one was harmed")
	}
}

// TestNoLimitOfTheDisk has limits that are switched off.
func TestNoLimitOfTheDisk(t *testing.T) {
	t.Parallel()
	r := startOn(t, agenttest.Start(t, "-disk-bytes=-1", "-disk-files=-1"))
	r.session(t, "s", 10001)
	if out, _ := r.run(t, "s", "head -c 40m /dev/zero >large; sleep 2; wc -c <large"); strings.TrimSpace(out) != "41943040" {
		t.Errorf("the session has %q", out)
	}
}
