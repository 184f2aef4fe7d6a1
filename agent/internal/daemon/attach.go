package daemon

import "github.com/berth-go/berth/agent/internal/wire"

// attach answers with what is kept of a session's command.
func (cs *commands) attach(ss *sessions) func(r *request) error {
	return func(r *request) error {
		s, err := ss.get(r.values["id"])
		if err != nil {
			return err
		}
		c, err := cs.get(r.Context(), r.values["command"])
		switch {
		case r.Context().Err() != nil:
			return err
		case err != nil || c.session != s || !c.detached: // it was not started, or it is not known any more
			return &wire.Error{Code: wire.CodeUnknownCommand, Message: "no such command was detached"}
		}
		return writeJSON(r, wire.Attached{Terminal: c.terminal, Stdin: c.in != nil, Stdout: c.out.span(), Stderr: c.errs.span()})
	}
}

// span returns what is kept of an output. A nil output has nothing.
func (o *output) span() *wire.Span {
	if o == nil || o.ring == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return &wire.Span{First: o.ring.first, Next: o.ring.next}
}

// dropKept drops the output of a session that is over. How its commands have ended stays known.
func (cs *commands) dropKept(s *session) {
	var all []*output
	cs.mu.Lock()
	for _, c := range cs.byID {
		if isClosed(c.ready) && c.session == s && c.detached {
			all = append(all, c.out, c.errs)
		}
	}
	cs.mu.Unlock()
	for _, o := range all {
		if o != nil {
			o.drop()
		}
	}
}
