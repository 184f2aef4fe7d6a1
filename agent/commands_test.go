package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
)

// What is listed is held by the conformance suite of engines.

func TestTheListedProcessIsTheProgram(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	pid, _ := r.run(t, "s", "echo $$")
	all, err := r.Commands(testContext(t), "s", 0)
	if err != nil || len(all) != 1 || fmt.Sprint(all[0].Pid) != strings.TrimSpace(pid) {
		t.Errorf("%+v, %v; the process is %s", all, err, pid)
	}
}

func TestAListedCommandIsPrintedWithoutArguments(t *testing.T) {
	info := agent.CommandInfo{ID: "c1", Args: []string{"login", "hunter2"}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("listed", "command", info)
	if text := log.String() + fmt.Sprintf("%v %+v %#v", info, info, info); strings.Contains(text, "hunter2") || !strings.Contains(text, "c1") {
		t.Errorf("%s", text)
	}
}

func TestAnAgentThatCannotListCommands(t *testing.T) {
	client := agent.NewClient(greeter(t, `{"protocol":1,"oldest":1,"build":"old","boot":"b"}`), agent.ClientOptions{})
	defer client.Close()
	if all, err := client.Commands(testContext(t), "s", 0); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, agent.ErrUnknownSession) {
		t.Errorf("%v, %v", all, err)
	}
}
