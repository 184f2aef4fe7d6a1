package enginetest

import (
	"errors"
	"io"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/orchestrator"
)

// files starts the program that serves the files of a session. What it does with them is held by the suite in filestest.
func (f *fixture) files(in orchestrator.Inside, session string) *filewire.Conn {
	f.Helper()
	stdin, requests := io.Pipe()
	answers, stdout := io.Pipe()
	p := f.start(in, agent.Command{
		Session: session, Args: []string{"files"}, Files: true, Stdin: stdin, Stdout: stdout,
		Ended: func(agent.Exit, error) { stdin.Close() },
	})
	go func() { // ends with the program, or with the Inside
		p.Wait()
		stdout.Close()
	}()
	return filewire.NewConn(requests, answers)
}

var filesCases = []testCase{{
	rule: "the program that serves a session's files is none of its commands, and what is asked of it is a use of the session",
	test: func(f *fixture) {
		_, in, s := f.opened()
		before := time.Now()
		conn := f.files(in, s.ID)
		f.wantIdle(in, s.ID, before, time.Now())
		if list, err := in.Commands(f.ctx, s.ID, 0); err != nil || len(list) > 0 {
			f.Errorf("Commands returned %v, %v", list, err)
		}
		asked := time.Now()
		if _, err := conn.Call(f.ctx, &filewire.Request{Op: filewire.OpWriteFile, Paths: []string{"note"}, Mode: 0o644, Data: []byte("hello")}); err != nil {
			f.Errorf("writing a file: %v", err)
		}
		f.wantIdle(in, s.ID, asked, time.Now())
		if exit, out, _ := f.run(in, s.ID, cmdRead("note"), nil); exit.Code != 0 || out != "hello" {
			f.Errorf("a command that reads the file printed %q and ended with %+v", out, exit)
		}
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Errorf("CloseSession: %v", err)
		}
		if _, err := conn.Call(f.ctx, &filewire.Request{Op: filewire.OpPing}); !errors.Is(err, filewire.ErrLost) {
			f.Errorf("after the end of the session, it answers %v", err)
		}
		_, err := in.Start(f.ctx, agent.Command{Session: s.ID, Args: []string{"files"}, Files: true})
		f.wantErr("Start", err, agent.ErrUnknownSession)
	},
}}
