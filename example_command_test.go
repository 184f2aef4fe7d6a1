package berth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// newSession gives a session whose commands do what run does.
func newSession(ctx context.Context, run func(context.Context, fake.Command) int) (*berth.Session, *berth.Provider) {
	p := newProvider(berth.Config{}, run)
	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	return s, p
}

// Command is os/exec's, run in the session's checkout under the session's own uid.
func ExampleSession_Command() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		fmt.Fprintln(c.Stderr, "fatal: bad revision 'v9'")
		return 128
	})
	defer p.Close()

	_, err := s.Command(ctx, "git", "show", "v9").Output()
	if failure, ok := errors.AsType[*berth.ExitError](err); ok {
		fmt.Printf("exit code %d: %s", failure.Code, failure.Stderr)
	}
	// Output:
	// exit code 128: fatal: bad revision 'v9'
}

// The output of a long command arrives as it is written. What nobody reads holds the command back; it is not buffered.
func ExampleCmd_StdoutPipe() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		for i := range 3 {
			fmt.Fprintf(c.Stdout, "step %d\n", i+1)
		}
		return 0
	})
	defer p.Close()

	cmd := s.Command(ctx, "agent", "--verbose")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Println("agent:", lines.Text())
	}
	fmt.Println(cmd.Wait())
	// Output:
	// agent: step 1
	// agent: step 2
	// agent: step 3
	// <nil>
}

// Stdin, Stdout and Stderr stream from and to wherever the program likes; Env and Dir are this command's alone.
func ExampleCmd() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		prompt, _ := io.ReadAll(c.Stdin)
		fmt.Fprintf(c.Stdout, "%s thinks about %q\n", c.Env["MODEL"], prompt)
		return 0
	})
	defer p.Close()

	cmd := s.Command(ctx, "agent")
	cmd.Env = []string{"MODEL=small"}
	cmd.Dir = "cart" // in the checkout
	cmd.Stdin = strings.NewReader("fix the login")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// small thinks about "fix the login"
}

// When its context ends, a command is killed with everything that it started.
func ExampleCmd_Wait_timeout() {
	s, p := newSession(context.Background(), func(ctx context.Context, c fake.Command) int {
		<-ctx.Done() // sleeps until it is killed
		return -9
	})
	defer p.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := s.Command(ctx, "sleep", "infinity").Run()
	fmt.Println(err)
	// Output:
	// context deadline exceeded
}
