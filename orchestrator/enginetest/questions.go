package enginetest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// askFor runs cmdAsk in a session, and returns what it printed when it has ended.
func askFor(f *fixture, in orchestrator.Inside, session, url string) <-chan string {
	f.Helper()
	var out, errs bytes.Buffer
	p := f.start(in, agent.Command{Session: session, Args: cmdAsk, Stdin: strings.NewReader("url=" + url + "\n\n"), Stdout: &out, Stderr: &errs})
	said := make(chan string, 1)
	go func() {
		exit, _ := p.Wait()
		said <- fmt.Sprintf("%d %s%s", exit.Code, &out, &errs)
	}()
	return said
}

// takeQuestions takes questions until there is one.
func takeQuestions(f *fixture, in orchestrator.Inside, seen uint64) []agent.Question {
	f.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		some, err := in.Questions(f.ctx, seen)
		if err != nil {
			f.Fatalf("Questions: %v", err)
		}
		if len(some) > 0 {
			return some
		}
	}
	f.Fatal("no question came")
	return nil
}

var questionCases = []testCase{{
	rule: "the git of a session asks for credentials, and each question goes to one process, or to another one if that is gone",
	test: func(f *fixture) {
		h, in := f.inside()
		f.fetch(in, f.Remote)
		s, silent := f.session("s1"), f.session("s2")
		s.Credentials = true
		f.open(in, s)
		f.open(in, silent)
		const url = "https://git.example/owner/name.git"
		said := askFor(f, in, s.ID, url)
		other := f.attach(h, f.own().Name)
		taken := takeQuestions(f, other, 0)
		if len(taken) != 1 || taken[0].Session != s.ID || taken[0].URL != url || taken[0].Push || taken[0].Rejected {
			f.Errorf("taken: %+v", taken)
		}
		other.Close()
		again := takeQuestions(f, in, 0)
		if len(again) != 1 || again[0].ID != taken[0].ID || again[0].Number <= taken[0].Number {
			f.Errorf("when the process that had it is gone: %+v, and it was %+v", again, taken)
		}
		for _, a := range []agent.Answer{{Username: "me", Password: "s3cret"}, {Username: "late"}} {
			if err := in.AnswerQuestion(f.ctx, again[0].ID, a); err != nil {
				f.Errorf("AnswerQuestion: %v", err)
			}
		}
		if got, _ := received(said, patience); !strings.HasPrefix(got, "0 ") || !strings.Contains(got, "username=me\npassword=s3cret\n") {
			f.Errorf("git says %q", got)
		}
		said = askFor(f, in, s.ID, url)
		next := takeQuestions(f, in, again[0].Number)
		if len(next) != 1 || next[0].ID == taken[0].ID {
			f.Errorf("the next question: %+v", next)
		}
		if err := in.AnswerQuestion(f.ctx, next[0].ID, agent.Answer{Refusal: "not today"}); err != nil {
			f.Errorf("AnswerQuestion: %v", err)
		}
		if got, _ := received(said, patience); !strings.HasPrefix(got, "128 ") || !strings.Contains(got, "not today") {
			f.Errorf("a refused git says %q", got)
		}
		if got, _ := received(askFor(f, in, silent.ID, url), patience); !strings.HasPrefix(got, "128 ") {
			f.Errorf("a session that was opened without Credentials: %q", got)
		}
		said = askFor(f, in, s.ID, url)
		last := takeQuestions(f, in, next[0].Number)
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatal(err)
		}
		if err := in.AnswerQuestion(f.ctx, last[0].ID, agent.Answer{Username: "me"}); err != nil {
			f.Errorf("AnswerQuestion after the session's end: %v", err)
		}
		if got, _ := received(said, patience); strings.Contains(got, "username") {
			f.Errorf("a git whose session has ended says %q", got)
		}
	},
}, {
	rule: "the ssh of a session asks for keys, also after a refusal, and a session without an agent of ssh has none",
	test: func(f *fixture) {
		_, in := f.inside()
		f.fetch(in, f.Remote)
		s, silent := f.session("s1"), f.session("s2")
		s.SSH = true
		f.open(in, s)
		f.open(in, silent)
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		ring := sshagent.NewKeyring()
		if err := ring.Add(sshagent.AddedKey{PrivateKey: private, Comment: "a key"}); err != nil {
			f.Fatal(err)
		}
		list := func(session string) <-chan string {
			said := make(chan string, 1)
			go func() {
				exit, out, errs := f.run(in, session, cmdKeys, nil)
				said <- fmt.Sprintf("%d %s%s", exit.Code, out, errs)
			}()
			return said
		}
		var seen uint64
		for _, refused := range []bool{false, true, false} {
			said := list(s.ID)
			taken := takeQuestions(f, in, seen)
			if len(taken) != 1 || taken[0].Session != s.ID || taken[0].URL != "" || len(taken[0].SSH) != 1 || taken[0].Bind != nil {
				f.Fatalf("taken: %+v", taken)
			}
			seen = taken[0].Number
			a := agent.Answer{SSH: answerOf(ring, taken[0].SSH)}
			if refused {
				a = agent.Answer{Refusal: "not today"}
			}
			if err := in.AnswerQuestion(f.ctx, taken[0].ID, a); err != nil {
				f.Errorf("AnswerQuestion: %v", err)
			}
			if got, _ := received(said, patience); refused == strings.HasPrefix(got, "0 ssh-ed25519 AAAA") || refused == strings.Contains(got, " a key") {
				f.Errorf("refused %t: %q", refused, got)
			}
		}
		if got, _ := received(list(silent.ID), patience); !strings.HasPrefix(got, "2 ") {
			f.Errorf("a session that was opened without SSH: %q", got)
		}
		said := list(s.ID)
		last := takeQuestions(f, in, seen)
		if err := in.CloseSession(f.ctx, s.ID, s.UID); err != nil {
			f.Fatal(err)
		}
		if err := in.AnswerQuestion(f.ctx, last[0].ID, agent.Answer{SSH: []byte{5}}); err != nil {
			f.Errorf("AnswerQuestion after the session's end: %v", err)
		}
		if got, _ := received(said, patience); strings.Contains(got, "ssh-ed25519") {
			f.Errorf("ssh of a session that has ended says %q", got)
		}
	},
}}

// answerOf is what an agent of ssh answers to one request.
func answerOf(keys sshagent.Agent, request []byte) []byte {
	var out bytes.Buffer
	in := bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...))
	_ = sshagent.ServeAgent(keys, struct {
		io.Reader
		io.Writer
	}{in, &out}) // ends with io.EOF
	return out.Bytes()[min(4, out.Len()):]
}
