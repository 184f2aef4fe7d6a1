package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// inside is one caller's connection to the inside of a container.
type inside struct {
	asker
	container *container
	host      *host
	ended     atomic.Bool
	done      chan struct{}
	err       error // set before done is closed
	preparer
	keeper
}

var _ orchestrator.Inside = (*inside)(nil)

// end closes done, once.
func (i *inside) end(err error) {
	if i.ended.CompareAndSwap(false, true) {
		i.err = err
		close(i.done)
	}
}

func (i *inside) Done() <-chan struct{} { return i.done }

func (i *inside) Err() error {
	select {
	case <-i.done:
		return i.err
	default:
		return nil
	}
}

// Close detaches. Output that commands still write is dropped.
func (i *inside) Close() error {
	n := i.container.node
	n.mu.Lock()
	i.container.insides = slices.DeleteFunc(i.container.insides, func(other *inside) bool { return other == i })
	n.mu.Unlock()
	i.end(agent.ErrClosed)
	return nil
}

// alive returns nil, or why calls inside fail. The caller holds the node's mu.
func (i *inside) alive() error {
	if i.ended.Load() {
		return i.Err()
	}
	if !i.container.running {
		return i.container.gone()
	}
	return nil
}

// begin returns when it is time for the call's effect.
func (i *inside) begin(ctx context.Context, v Verb, session string, latency time.Duration) (reply, error) {
	if i.ended.Load() {
		<-i.done
		return reply{}, i.err
	}
	n := i.container.node
	call := Call{Actor: i.host.actor, Verb: v, Host: i.host.name, Container: i.container.spec.Name, Session: session}
	r, err := n.engine.begin(ctx, call, latency, i.done)
	r.cut = i.done
	if err == nil {
		err = n.reachable(ctx, r, i.host.endpoint.Address)
	} else if err == errCut {
		r.woken()
	}
	return r, i.explain(err)
}

// finish waits from the call's effect to its end. The answer of an unreachable host waits until the host can be
// reached.
func (i *inside) finish(ctx context.Context, r reply, err error) error {
	if err = r.finish(ctx, err); err == nil {
		err = i.container.node.reachable(ctx, r, i.host.endpoint.Address)
	} else if err == errCut {
		r.woken()
	}
	return i.explain(err)
}

// explain returns why a call was cut off.
func (i *inside) explain(err error) error {
	if err == errCut {
		return i.err // done is closed
	}
	return err
}

func (i *inside) Open(ctx context.Context, s agent.Session) (agent.Checkout, error) {
	r, err := i.begin(ctx, Open, s.ID, i.container.node.engine.opts.Latency.Open)
	if err != nil {
		return agent.Checkout{}, err
	}
	if at, reason := agent.CheckSharedDirs(s.Caches); reason != "" {
		return agent.Checkout{}, i.finish(ctx, r, fmt.Errorf("fake: cache %d: %s", at, reason))
	}
	made, err := i.open(s)
	if err = i.finish(ctx, r, err); err != nil {
		return agent.Checkout{}, err
	}
	return agent.Checkout{Workdir: made.workdir(), Branch: made.branch, Commit: made.commit, SelfContained: s.SelfContained, Prepared: made.prepared.base()}, nil
}

func (i *inside) open(s agent.Session) (*session, error) {
	c, n := i.container, i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, err
	}
	if c.sessions[s.ID] != nil {
		return c.usable(s.ID)
	}
	if other := n.uids[s.UID]; other != nil {
		return nil, fmt.Errorf("fake: uid %d is that of session %s, on the same instance", s.UID, other.id)
	}
	m := c.mirror
	switch {
	case n.full:
		return nil, errDiskFull("checkout")
	case !m.whole:
		return nil, &agent.GitError{Op: "checkout", Message: "fatal: not a git repository: '/berth/mirror'"}
	}
	if m.private && !s.Proven {
		return nil, fmt.Errorf("fake: %w", agent.ErrProofRequired)
	}
	branch, commit, err := m.refs.resolve(s.Branch, m.commits)
	if err != nil {
		return nil, err
	}
	made := &session{
		id: s.ID, proven: s.Proven, asks: s.Credentials, knownHosts: s.KnownHosts, ssh: s.SSH, submodules: s.Submodules, lfs: s.LFS,
		dir: s.Dir, branch: branch, commit: commit, uid: s.UID, env: s.Env, since: time.Now(), author: s.Author.Name, begun: startOf(s),
	}
	made.openRepository(n, m)
	if !s.Bare && c.sharesCheckouts() == "" {
		made.prepared = i.find(s.URL, s.Prepare, s.Image, branch, commit)
	}
	if file := n.engine.remotes.devcontainer(s.URL, s.Prepare); len(file.Env) > 0 {
		env := environOf(file)
		maps.Copy(env, made.env)
		made.env = env
	}
	c.sessions[s.ID] = made
	n.uids[s.UID] = made
	if len(n.uids) > n.most {
		n.most = len(n.uids)
		n.engine.mu.Lock()
		n.engine.most = max(n.engine.most, n.most)
		n.engine.mu.Unlock()
	}
	return made, nil
}

func (s *session) home() string    { return "/sessions/" + s.id }
func (s *session) workdir() string { return "/sessions/" + s.id + "/" + s.dir }

func (i *inside) CloseSession(ctx context.Context, id string, uid int) error {
	r, err := i.begin(ctx, CloseSession, id, i.container.node.engine.opts.Latency.Close)
	if err != nil {
		return err
	}
	c, n := i.container, i.container.node
	n.mu.Lock()
	var killed []*process
	if err = i.alive(); err == nil {
		for _, s := range []*session{c.sessions[id], n.uids[uid]} {
			if s == nil || c.sessions[s.id] != s {
				continue
			}
			killed = append(killed, s.processes...)
			s.processes = nil
			delete(c.sessions, s.id)
			delete(n.uids, s.uid)
		}
	}
	n.mu.Unlock()
	for _, p := range killed {
		p.end(exitKilled, nil)
	}
	return i.finish(ctx, r, err)
}

func (i *inside) Sessions(ctx context.Context) (map[string]int, error) {
	r, err := i.begin(ctx, Sessions, "", i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return nil, err
	}
	n := i.container.node
	n.mu.Lock()
	open := make(map[string]int, len(i.container.sessions))
	if err = i.alive(); err == nil {
		for id, s := range i.container.sessions {
			open[id] = s.uid
		}
	}
	n.mu.Unlock()
	if err = i.finish(ctx, r, err); err != nil {
		return nil, err
	}
	return open, nil
}

func (i *inside) Idle(ctx context.Context, session string) (time.Duration, error) {
	r, err := i.begin(ctx, Idle, session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return 0, err
	}
	idle, err := i.idle(session)
	if err = i.finish(ctx, r, err); err != nil {
		return 0, err
	}
	return idle, nil
}

func (i *inside) idle(session string) (time.Duration, error) {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return 0, err
	}
	s, err := i.container.usable(session)
	switch {
	case err != nil:
		return 0, err
	case s.lines > 0, slices.ContainsFunc(s.processes, func(p *process) bool { return !helps(p.started) }):
		return 0, nil
	}
	return time.Since(s.since), nil
}

func (i *inside) Renew(ctx context.Context, session string) error {
	r, err := i.begin(ctx, Renew, session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return err
	}
	return i.finish(ctx, r, i.renew(session))
}

func (i *inside) renew(session string) error {
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return err
	}
	s, err := i.container.usable(session)
	if err != nil {
		return err
	}
	s.since = time.Now()
	return nil
}

// remove takes a process that has ended from its session's list.
func (s *session) remove(p *process) {
	if at := slices.Index(s.processes, p); at >= 0 {
		s.processes = slices.Delete(s.processes, at, at+1)
		if !helps(p.started) {
			s.since = time.Now()
		}
	}
}

// environ returns the environment of a command: the session's, then the command's own.
func (s *session) environ(added []string) map[string]string {
	env := map[string]string{"HOME": s.home(), "TMPDIR": s.home() + "/tmp", "PATH": "/usr/local/bin:/usr/bin:/bin"}
	maps.Copy(env, s.env)
	for _, pair := range added {
		if key, value, ok := cutPair(pair); ok {
			env[key] = value
		}
	}
	return env
}
