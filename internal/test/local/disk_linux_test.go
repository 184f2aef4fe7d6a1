package local_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// TestLocalSessionsThatFillTheDisk lets sessions take more of the disk than they may. Each is ended and told why, or with project
// quotas its writes fail. Its neighbour and holes in files are left in peace.
func TestLocalSessionsThatFillTheDisk(t *testing.T) {
	git := gittest.NewSmartServer(t)
	limits := orchestrator.Limits{Session: orchestrator.SessionLimits{DiskBytes: 48 * mib, DiskFiles: 3000}}
	p := local.New(t, berth.Config{Image: testenv.Image(t), Limits: limits})
	remote := git.Create("org/small", gittest.Small())
	neighbour := p.Create("neighbour", remote.URL(), "")
	t.Logf("project quotas: %t", neighbour.Info().Instance.DiskQuota)
	for task, script := range map[string]string{
		"large":    `head -c 64m /dev/zero >large`,
		"empty":    `i=0; while [ $i -lt 4000 ]; do : >$i; i=$((i+1)); done`,
		"unlinked": `exec 3>gone; rm gone; head -c 64m /dev/zero >&3`,
		"moved":    `mkdir a b; head -c 64m /dev/zero >a/large; while :; do mv a c; mv b a; mv c b; done`,
		"home":     `head -c 64m /dev/zero >~/large`,
		"tmpdir":   `head -c 64m /dev/zero >$TMPDIR/large`,
	} {
		s := p.Create(task, remote.URL(), "")
		if s.Info().Instance.DiskQuota {
			checkRefused(t, s, task, script)
			continue
		}
		err := s.Command(t.Context(), "sh", "-c", script+"; sleep 1000").Run()
		if !errors.Is(err, berth.ErrOverLimit) || !strings.Contains(err.Error(), "disk: used ") {
			t.Errorf("%s: the command ended with %v", task, err)
		}
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrOverLimit) {
			t.Errorf("%s: the session ended with %v", task, s.Err())
		}
	}
	out, err := neighbour.Command(t.Context(), "sh", "-c", "truncate -s 1T hole; head -c 20m /dev/zero >kept; ln kept link; wc -c <kept").Output()
	if err != nil || strings.TrimSpace(string(out)) != "20971520" {
		t.Errorf("the neighbour: %q, %v", out, err)
	}
}

// checkRefused runs a script that the file system refuses, and then uses the session.
func checkRefused(t *testing.T, s *berth.Session, task, script string) {
	t.Helper()
	// One script moves a directory for ever, beside its writes.
	script = strings.Replace(script, "head -c 64m /dev/zero >a/large; while", "head -c 64m /dev/zero >a/large || exit 1; while", 1)
	out, err := s.Command(t.Context(), "sh", "-c", script).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "uota exceeded") && !strings.Contains(string(out), "o space left") {
		t.Errorf("%s: %v, %q", task, err, out)
	}
	if out, err := s.Command(t.Context(), "sh", "-c", "git status --short | wc -l").CombinedOutput(); err != nil {
		t.Errorf("%s: afterwards the session has %v, %q", task, err, out)
	}
	if err := s.Err(); err != nil {
		t.Errorf("%s: the session ended with %v", task, err)
	}
}
