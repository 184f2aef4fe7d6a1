package local_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
)

// TestLocalNeighboursHaveNoHoldOnEachOther lets a session try to read what belongs to another, and to signal it.
func TestLocalNeighboursHaveNoHoldOnEachOther(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/neighbours", gittest.Small())
	hostile := l.Create("hostile", remote.URL(), "")
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "t", UserID: "u", Repository: remote.URL(), Env: map[string]string{"TOKEN": "the neighbour's"},
	})
	if err != nil {
		t.Fatal(err)
	}
	local.Sh(t, s, "echo 'the file' >file; echo 'the file' >$HOME/file; echo 'the file' >$TMPDIR/file")
	victim := s.Command(t.Context(), "sh", "-c", "echo $$; exec sleep 1000")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	own := local.Sh(t, s, fmt.Sprintf("tr '\\0' '\\n' </proc/%d/environ | grep TOKEN; cat file $HOME/file $TMPDIR/file; kill -0 %d && echo signals", pid, pid))
	if strings.Count(own, "the file") != 3 || !strings.Contains(own, "TOKEN=the neighbour's") || !strings.HasSuffix(own, "signals") {
		t.Fatalf("the session itself gets %q", own)
	}
	places, namespace := local.Sh(t, s, "echo $PWD $HOME $TMPDIR"), local.Sh(t, s, "readlink /proc/self/ns/pid")
	tries := fmt.Sprintf(`exec 2>/dev/null
		for place in %[2]s; do cat $place/file; ls $place; touch $place/planted && echo planted; done
		# In another namespace of processes, the number is that of no process, or of one of its own.
		test $(readlink /proc/self/ns/pid) = %[3]s || exit 0
		cat /proc/%[1]d/environ /proc/%[1]d/mem /proc/%[1]d/maps; ls /proc/%[1]d/cwd/ /proc/%[1]d/root/ /proc/%[1]d/fd
		for signal in 0 STOP TERM KILL; do kill -$signal %[1]d && echo $signal; kill -$signal 1 && echo $signal to the agent; done
		true`, pid, places, namespace)
	if got := local.Sh(t, hostile, tries); got != "" {
		t.Errorf("the neighbour gets\n%s", got)
	}
	if got := local.Sh(t, s, fmt.Sprintf("kill -0 %d && ls -A $TMPDIR", pid)); got != "file" {
		t.Errorf("afterwards the session has %q", got)
	}
}
