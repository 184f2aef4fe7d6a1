package filestest

import (
	"context"
	"io"
	"testing"

	"github.com/berth-go/berth/agent/filewire"
	"github.com/berth-go/berth/files"
)

// Direct returns the files of a tree, which is served without a container. workdir is its checkout.
func Direct(t testing.TB, tree filewire.Tree, workdir string) *files.FS {
	in, requests := io.Pipe()
	answers, out := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := filewire.Serve(in, out, tree)
		out.Close()
		served <- err
	}()
	conn := filewire.NewConn(requests, answers)
	t.Cleanup(func() {
		conn.Close(filewire.ErrLost)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return files.New(context.Background(), direct{conn}, workdir)
}

// direct is a files.Server and a files.Handle.
type direct struct{ *filewire.Conn }

func (d direct) Open(ctx context.Context, r *filewire.Request) (filewire.Answer, files.Handle, error) {
	a, err := d.Call(ctx, r)
	if err != nil || a.Handle == 0 {
		return a, nil, err
	}
	return a, opened{d, a.Handle}, nil
}

type opened struct {
	direct
	number uint32
}

func (o opened) Call(ctx context.Context, r *filewire.Request) (filewire.Answer, error) {
	r.Handle = o.number
	return o.direct.Call(ctx, r)
}
