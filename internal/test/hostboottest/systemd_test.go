package hostboottest

import (
	"net/http"
	"testing"
	"time"
)

// TestMachineEndsWithItsMaker does what the death of this process would do: it closes the pipe.
func TestMachineEndsWithItsMaker(t *testing.T) {
	m := Boot(t, Options{Metadata: http.NotFoundHandler()})
	if err := poll(t.Context(), func() (bool, error) { return m.init() != "", nil }); err != nil {
		t.Fatal(err)
	}
	m.alive.Close()
	select {
	case <-m.Ended():
	case <-time.After(5 * time.Minute):
		t.Fatal("the machine lives on")
	}
	if err := m.Stop(); err != nil {
		t.Error(err)
	}
	if left := m.Left(); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}
