package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"syscall"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Signal signals the program, or with group its process group, once. It returns os.ErrProcessDone if the program has ended, and
// errors.ErrUnsupported if the agent is too old for it. If ctx ends first, the program may get the signal or not.
func (p *Process) Signal(ctx context.Context, sig syscall.Signal, group bool) error {
	path := fmt.Sprintf("%s/signals/%s?number=%d", p.path, rand.Text(), int(sig))
	if group {
		path += "&group=1"
	}
	err := p.c.do(ctx, request{method: http.MethodPost, path: path, timeout: longPoll})
	if unknownCommand(err) {
		return os.ErrProcessDone
	}
	return err
}

// Resize sets the size of the program's terminal. The program gets SIGWINCH. Resize returns os.ErrProcessDone if the terminal is
// closed, and another error if the program has none.
func (p *Process) Resize(ctx context.Context, size Size) error {
	body, err := json.Marshal(wire.Size(size))
	if err != nil {
		return err
	}
	err = p.c.do(ctx, request{method: http.MethodPut, path: p.path + "/size", body: body, timeout: short})
	if unknownCommand(err) {
		return os.ErrProcessDone
	}
	return err
}
