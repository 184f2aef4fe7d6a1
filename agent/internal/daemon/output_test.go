package daemon

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// piped returns an output and the end that a program writes.
func piped(t *testing.T) (*output, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return newOutput(r, &budget{limit: maxKept}), w
}

func length(bytes [][]byte) (n int64) {
	for _, b := range bytes {
		n += int64(len(b))
	}
	return n
}

// TestOutputThatIsDroppedHasNoEnd: a reader that waits for it, or comes later, must not take its bytes for the whole output.
func TestOutputThatIsDroppedHasNoEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	wantCut := func(when string, last bool, err error) {
		t.Helper()
		var e *wire.Error
		if last || !errors.As(err, &e) || e.Code != wire.CodeCut {
			t.Errorf("%s: last %t, %v", when, last, err)
		}
	}
	o, w := piped(t)
	w.WriteString("hello")
	bytes, last, err := o.from(ctx, 0)
	if length(bytes) != 5 || last || err != nil {
		t.Fatalf("%d bytes, last %t, %v", length(bytes), last, err)
	}
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		_, last, err := o.from(ctx, 5)
		wantCut("a reader that waits", last, err)
	}()
	for o.size() > 0 { // until the reader has acknowledged what it has, and waits
		runtime.Gosched()
	}
	o.drop()
	<-waiting
	_, last, err = o.from(ctx, 5)
	wantCut("a reader that comes later", last, err)

	o, w = piped(t)
	w.WriteString("hello")
	w.Close()
	for _, last, _ := o.from(ctx, 0); !last; _, last, _ = o.from(ctx, 0) {
	}
	o.drop()
	_, last, err = o.from(ctx, 0)
	wantCut("a reader of what had ended, and was not fetched", last, err)
}

// TestOutputThatItsReaderClosesHasAnEnd: the reader knows why there is no more.
func TestOutputThatItsReaderClosesHasAnEnd(t *testing.T) {
	o, w := piped(t)
	w.WriteString("hello")
	if _, _, err := o.from(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	o.close()
	if bytes, last, err := o.from(t.Context(), 5); len(bytes) > 0 || !last || err != nil {
		t.Errorf("%d bytes, last %t, %v", length(bytes), last, err)
	}
}
