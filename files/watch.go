package files

import (
	"context"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/berth-go/berth/agent/filewire"
)

// FileEvent says what has happened to a file since the event before.
type FileEvent struct {
	// Name is that of the file, as the methods of the FS take it. After an Overflow it is that of what is watched.
	Name string
	// At least one of these is true. If several are, their order is not known: look at the file.
	Created  bool // it was made, or moved to this name
	Written  bool // its content has changed
	Removed  bool // it was removed, or moved to another name
	Metadata bool // its mode, its owner or its times have changed
	// Overflow says that so much has changed that events were lost: anything below Name may have changed. The watch goes on.
	Overflow bool
}

// Watch watches a file, or a directory and all below it, for changes by any process. It begins before Watch returns: every change that is
// made afterwards is told. Changes of one file within about 50 ms are one event. Symbolic links below name are not followed, and
// directories that the session may not read are left out.
//
// The sequence is used once, and ends the watch, which keeps the session from expiring; so does the end of ctx. It ends with an error: the
// cause of ctx or of the context of the FS; fs.ErrNotExist, when name itself was removed or moved. The kernel bounds how many directories
// all sessions of a uid may watch (fs.inotify.max_user_watches): then it is syscall.ENOSPC.
func (f *FS) Watch(ctx context.Context, name string) iter.Seq2[FileEvent, error] {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(f.ctx, func() { cancel(context.Cause(f.ctx)) })
	of := *f
	of.ctx = ctx
	_, h, err := of.open("watch", name, filewire.Request{Op: filewire.OpWatch})
	if err != nil {
		cancel(nil)
	}
	return func(yield func(FileEvent, error) bool) {
		defer cancel(fs.ErrClosed) // also of a second use
		defer unhook()
		for err == nil {
			var events []FileEvent
			if events, err = next(ctx, h, name); err != nil {
				err = pathError("watch", name, err)
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
		}
		yield(FileEvent{}, err)
	}
}

func next(ctx context.Context, h Handle, top string) (list []FileEvent, err error) {
	a, err := h.Call(ctx, &filewire.Request{Op: filewire.OpRead})
	if err != nil {
		return nil, err
	}
	events, err := filewire.Events(a.Data)
	for _, e := range events {
		if e.Name != path.Clean(e.Name) && e.Name != "" || path.IsAbs(e.Name) || strings.HasPrefix(e.Name+"/", "../") {
			err = errAnswer
		}
		list = append(list, event(top, e))
	}
	if err != nil {
		return nil, errAnswer
	}
	return list, nil
}

func event(top string, e filewire.Event) FileEvent {
	return FileEvent{
		Name: path.Join(top, e.Name), Created: e.Change&filewire.Created != 0, Written: e.Change&filewire.Written != 0,
		Removed: e.Change&filewire.Removed != 0, Metadata: e.Change&filewire.Metadata != 0, Overflow: e.Change&filewire.Overflow != 0,
	}
}
