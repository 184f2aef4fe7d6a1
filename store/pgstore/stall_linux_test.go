package pgstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
)

const (
	stallVariable = "BERTH_TEST_STALL_DSN" // makes the test binary the process that stands still
	stall         = 2 * time.Second
)

// standStill is the code of that process.
func standStill(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := pgstore.Open(ctx, dsn, pgstore.Options{StallTimeout: stall})
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		err := s.Update(ctx, []store.Key{store.UserKey("a"), store.UserKey("child")}, func(tx store.Tx) error {
			fmt.Println("has the locks")
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the second time it is closed
			return tx.Put(&store.User{ID: "child", Sessions: 1})
		})
		if !errors.Is(err, store.ErrUnknownOutcome) {
			return err
		}
	}
}

func init() {
	dsn := os.Getenv(stallVariable)
	if dsn == "" {
		return
	}
	if err := standStill(dsn); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestStoppedProcessHoldsNobodyUpForLong stops a process in the midst of an Update, with its locks.
func TestStoppedProcessHoldsNobodyUpForLong(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dsn := server.DSN(server.Database(t))
	s := open(t, dsn, pgstore.Options{StallTimeout: stall})

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), stallVariable+"="+dsn)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the process said %q: %v", line, err)
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := set(bounded(t), s, 1, "a"); err != nil {
		t.Fatal(err)
	}
	// A machine with much to do may take a while for everything; without the timeout it would never end.
	waited := time.Since(begin)
	t.Logf("an Update that waited for the locks of a stopped process took %v, with a timeout of %v", waited, stall)
	if waited < stall/2 {
		t.Errorf("an Update took %v: it has not waited for the locks of the stopped process", waited)
	}
	if n := number(t, s, "child"); n != -1 {
		t.Errorf("the stopped process has written %d", n)
	}

	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	in.Close()
	err = child.Wait()
	ended = true
	if err != nil {
		t.Fatalf("the process that went on: %v", err)
	}
	if n := number(t, s, "child"); n != 1 {
		t.Errorf("the process that went on has written %d, want 1", n)
	}
}
