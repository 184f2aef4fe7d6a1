package agent_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/agent"
)

// TestMuchOutputIsKeptOnTheDisk: its end is whole, however often the file has come round, and the session sees no file.
func TestMuchOutputIsKeptOnTheDisk(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	const last, keep = 3_000_000, 5_000_000 // 22.9 MB
	p, err := r.Start(testContext(t), agent.Command{
		Session: "s", Args: []string{"sh", "-c", "seq 1 3000000; exit 7"}, Stdout: io.Discard, Detached: true, Keep: keep,
	})
	if err != nil {
		t.Fatal(err)
	}
	slow, in := io.Pipe() // nobody reads it: that does not hold the command back
	defer slow.Close()
	if _, _, err := r.Attach(testContext(t), agent.Attach{Session: "s", ID: p.ID(), Stdout: in}); err != nil {
		t.Fatal(err)
	}
	exit, err := p.Wait()
	if _, cut := errors.AsType[*agent.CutError](err); exit.Code != 7 || err != nil && !cut {
		t.Errorf("%+v, %v", exit, err)
	}
	var whole []byte
	for n := range last {
		whole = fmt.Appendln(whole, n+1)
	}
	end := newHashed()
	end.Write(whole[len(whole)-keep:])
	got := newHashed()
	again, at, err := r.Attach(testContext(t), agent.Attach{Session: "s", ID: p.ID(), Stdout: got, StdoutFrom: -int64(len(whole))})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := again.Wait(); err != nil || exit.Code != 7 || got.String() != end.String() || at.StdoutFrom != int64(len(whole)-keep) {
		t.Errorf("%+v, %v: %v from %d on, want %v from %d on", exit, err, got, at.StdoutFrom, end, len(whole)-keep)
	}
	if files := globbed(filepath.Join(r.agent.Inside(r.agent.Dir), "sessions/s/.output-*")); len(files) > 0 {
		t.Errorf("files have names: %v", files)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Attach(testContext(t), agent.Attach{Session: "s", ID: p.ID()}); !errors.Is(err, agent.ErrUnknownSession) {
		t.Errorf("in a session that is over: %v", err)
	}
}
