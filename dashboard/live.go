package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// live tells browsers that the pool has changed. While at least one listens, one goroutine keeps the model fresh for all of them.
type live struct {
	model *model

	mu        sync.Mutex // protects what follows
	listeners map[chan uint64]struct{}
	stop      context.CancelFunc // of the goroutine; nil = it does not run
}

func newLive(m *model) *live { return &live{model: m, listeners: map[chan uint64]struct{}{}} }

// listen returns a channel that gets the version of the model after each change. Only the last one is kept.
func (l *live) listen() (versions <-chan uint64, leave func()) {
	c := make(chan uint64, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners[c] = struct{}{}
	if l.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		l.stop = cancel
		go l.follow(ctx)
	}
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.listeners, c)
		if len(l.listeners) == 0 && l.stop != nil {
			l.stop()
			l.stop = nil
		}
	}
}

// follow refreshes the model when the store has changed, until ctx ends or the Provider closes.
func (l *live) follow(ctx context.Context) {
	m := l.model
	told, _, _ := m.now()
	for {
		if m.source.due() || m.age() > tooOld {
			_ = m.refresh(ctx) // the pages show the error
		}
		m.source.used()
		if version, _, _ := m.now(); version != told {
			told = version
			l.tell(version)
		}
		pause := m.source.pause()
		var wake <-chan struct{}
		if pause == pollAfter { // otherwise there is something to read, and it is not time yet
			wake = m.source.wake
		}
		timer := time.NewTimer(max(pause, 10*time.Millisecond))
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.console.Closing():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (l *live) tell(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.listeners {
		select {
		case <-c:
		default:
		}
		select {
		case c <- version:
		default:
		}
	}
}

// keepAlive is how often a stream says something, so that a proxy does not end it and a browser that has left is noticed.
const keepAlive = 20 * time.Second

// stream serves the events by which a page learns that it is out of date. It holds no data: the page asks for itself again.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	versions, leave := s.live.listen()
	defer leave()
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every ResponseWriter has deadlines
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	version, _, _ := s.model.now()
	if !send("retry: 2000\n" + changeEvent(version)) {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		text := ": here\n\n"
		select {
		case version := <-versions:
			text = changeEvent(version)
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-s.console.Closing():
			return
		}
		if !send(text) {
			return
		}
	}
}

func changeEvent(version uint64) string {
	return fmt.Sprintf("event: change\nid: %d\ndata: %s\n\n", version, strconv.FormatUint(version, 10))
}
