package agent_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// How a session's commands count is held by the conformance suite of engines.

func TestWhatACommandLeavesInTheBackgroundDoesNotCount(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	begun := time.Now()
	pid, _ := r.run(t, "s", "sleep 1001 >/dev/null 2>&1 </dev/null & echo $!")
	if text, exit := r.run(t, "s", "kill -0 "+pid); exit.Code != 0 {
		t.Fatalf("what is in the background has ended: %s", text)
	}
	if idle, err := r.Idle(testContext(t), "s"); err != nil || idle <= 0 || idle > time.Since(begun) {
		t.Errorf("idle for %v, %v", idle, err)
	}
}

func TestACommandWhoseOutputNobodyTakesHasEnded(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"echo", "hello"}, Stdout: stuck{t.Context().Done()}})
	if err != nil {
		t.Fatal(err)
	}
	<-agent.Ended(p)
	if idle, err := r.Idle(testContext(t), "s"); err != nil || idle <= 0 {
		t.Errorf("idle for %v, %v", idle, err)
	}
}

// stuck is a Writer that blocks until the end of the test.
type stuck struct{ end <-chan struct{} }

func (s stuck) Write([]byte) (int, error) {
	<-s.end
	return 0, errors.New("the test has ended")
}

func TestAnAgentThatCannotTellTheIdleTime(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"build":"old","boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	idle, err := client.Idle(testContext(t), "s")
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, agent.ErrUnknownSession) {
		t.Errorf("%v, %v", idle, err)
	}
	err = client.Renew(testContext(t), "s")
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, agent.ErrUnknownSession) {
		t.Errorf("Renew: %v", err)
	}
}
