package enginetest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/orchestrator"
)

// packOrUnpack runs the program that packs or unpacks the work of a session, and returns what it wrote, and why it failed.
func packOrUnpack(f *fixture, in orchestrator.Inside, session string, what agent.Work, stdin io.Reader) (out []byte, failure string) {
	f.Helper()
	var stdout, stderr bytes.Buffer
	p := f.start(in, agent.Command{Session: session, Work: what, Stdin: stdin, Stdout: &stdout, Stderr: &stderr})
	exit, err := p.Wait()
	if err != nil {
		f.Fatalf("Wait: %v", err)
	}
	if exit.Code == 0 {
		return stdout.Bytes(), ""
	}
	return nil, "exit " + stderr.String()
}

// keeps writes a file of a session.
func keeps(f *fixture, in orchestrator.Inside, session, name, text string) {
	f.Helper()
	conn := f.files(in, session)
	defer conn.Close(filewire.ErrLost)
	if _, err := conn.Call(f.ctx, &filewire.Request{Op: filewire.OpWriteFile, Paths: []string{name}, Mode: 0o644, Data: []byte(text)}); err != nil {
		f.Fatalf("writing a file: %v", err)
	}
}

var workCases = []testCase{{
	rule: "the work of a session is packed and unpacked in another one, which changes it alone; the programs are none of its commands",
	test: func(f *fixture) {
		_, in, s := f.opened()
		keeps(f, in, s.ID, "note", "kept")
		before := time.Now()
		packed, failure := packOrUnpack(f, in, s.ID, agent.PackWork, nil)
		if failure != "" {
			f.Fatalf("PackWork: %s", failure)
		}
		f.wantIdle(in, s.ID, before, time.Now())
		if list, err := in.Commands(f.ctx, s.ID, 0); err != nil || len(list) > 0 {
			f.Errorf("Commands returned %v, %v", list, err)
		}
		head, err := agent.ReadWorkHead(bufio.NewReader(bytes.NewReader(packed)))
		if err != nil || head.Commit == "" || head.Files == 0 || head.Bytes < 4 {
			f.Fatalf("the head is %+v, %v", head, err)
		}
		other := s
		other.ID, other.UID, other.Branch = s.ID+"-next", s.UID+1, head.Commit
		if _, err := in.Open(f.ctx, other); err != nil {
			f.Fatalf("Open at the commit of the head: %v", err)
		}
		if _, failure := packOrUnpack(f, in, other.ID, agent.UnpackWork, bytes.NewReader(packed)); failure != "" {
			f.Fatalf("UnpackWork: %s", failure)
		}
		if exit, out, _ := f.run(in, other.ID, cmdRead("note"), nil); exit.Code != 0 || out != "kept" {
			f.Errorf("the file is %q in the other session, %+v", out, exit)
		}
		keeps(f, in, other.ID, "note", "changed")
		if exit, out, _ := f.run(in, s.ID, cmdRead("note"), nil); exit.Code != 0 || out != "kept" {
			f.Errorf("the file of the first session is %q, %+v", out, exit)
		}
	},
}, {
	rule: "what is no packed work, or not all of it, is not unpacked",
	test: func(f *fixture) {
		_, in, s := f.opened()
		keeps(f, in, s.ID, "note", strings.Repeat("kept", 1000))
		packed, failure := packOrUnpack(f, in, s.ID, agent.PackWork, nil)
		if failure != "" {
			f.Fatalf("PackWork: %s", failure)
		}
		for n, broken := range [][]byte{nil, []byte("#!/bin/sh\n"), packed[:len(packed)/2], append(bytes.Clone(packed), "more"...)} {
			other := s
			other.ID, other.UID = s.ID+"-next"+string(rune('0'+n)), s.UID+1+n
			if _, err := in.Open(f.ctx, other); err != nil {
				f.Fatalf("Open: %v", err)
			}
			if _, failure := packOrUnpack(f, in, other.ID, agent.UnpackWork, bytes.NewReader(broken)); failure == "" {
				f.Errorf("%d: what is broken was unpacked", n)
			}
		}
	},
}, {
	rule: "kept work stays when its session is gone, is unpacked in another one, belongs to nobody's uid, and is bounded",
	test: func(f *fixture) {
		_, in, s := f.opened()
		keeps(f, in, s.ID, "note", "kept")
		all := agent.Keep{Session: s.ID, Branch: s.Branch, Count: 2, Bytes: 10 << 20, Age: time.Hour}
		if _, err := in.BringWork(f.ctx, s.ID, ""); !errors.Is(err, agent.ErrNothingKept) {
			f.Errorf("before anything is kept: %v", err)
		}
		small := all
		small.Bytes = 10
		if _, err := in.KeepWork(f.ctx, small); err == nil {
			f.Error("work over the bounds is kept")
		}
		if _, err := in.BringWork(f.ctx, s.ID, ""); !errors.Is(err, agent.ErrNothingKept) {
			f.Errorf("after work over the bounds: %v", err)
		}
		made, err := in.KeepWork(f.ctx, all)
		if err != nil {
			f.Fatal(err)
		}
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatal(err)
		}
		found, err := in.BringWork(f.ctx, s.ID, "")
		if err != nil || found.Branch != s.Branch || found.Commit == "" || found.Bytes == 0 || found.Bytes != made.Bytes {
			f.Fatalf("%+v, %+v, %v", made, found, err)
		}
		other := s // with the same uid
		other.ID, other.Branch = s.ID+"-next", found.Commit
		if _, err := in.Open(f.ctx, other); err != nil {
			f.Fatalf("Open at the commit of what is kept: %v", err)
		}
		if _, err := in.BringWork(f.ctx, s.ID, other.ID); err != nil {
			f.Fatal(err)
		}
		if exit, out, _ := f.run(in, other.ID, cmdRead("note"), nil); exit.Code != 0 || out != "kept" {
			f.Errorf("the file is %q in the other session, %+v", out, exit)
		}
		if _, err := in.KeepWork(f.ctx, agent.Keep{Session: s.ID, Count: 1, Bytes: 1 << 20, Age: time.Hour}); !errors.Is(err, agent.ErrUnknownSession) {
			f.Errorf("the work of a session that is gone: %v", err)
		}
		all.Session, all.Count = other.ID, 1
		if _, err := in.KeepWork(f.ctx, all); err != nil {
			f.Fatal(err)
		}
		if _, err := in.BringWork(f.ctx, s.ID, ""); !errors.Is(err, agent.ErrNothingKept) {
			f.Errorf("more is kept than may be: %v", err)
		}
	},
}}
