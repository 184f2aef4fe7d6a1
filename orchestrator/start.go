package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// start makes the container run with a mirror that is up to date, and stores that it is ready; or it stores why it is
// not, for those who wait in other replicas, before anybody learns of it here: so nobody joins a start that failed.
func (k *keeper) start(c *store.Container) error {
	ctx, cancel, err := k.m.acting(k.ctx)
	if err != nil {
		return errStopping
	}
	defer cancel()
	defer k.notice(ctx, cancel)()
	inside, mirror, err := k.startUp(ctx, c)
	if err == nil {
		err = k.storeReady(ctx, c, mirror)
	}
	if err == nil {
		k.inside = inside
		k.m.starts.Add(1)
		return nil
	}
	if inside != nil {
		inside.Close()
	}
	if ctx.Err() != nil {
		return errStopping // nobody waits for it any more
	}
	failure := store.Failure{}
	if !errors.Is(err, agent.ErrGone) { // else it is no fault of the container's: those who wait try another
		k.m.startFailures.Add(1)
		failure = store.Failure{Reason: "start failed", Phase: "starting", Message: Clean(err.Error())}
		if f, ok := errors.AsType[*StartFailure](err); ok {
			failure.Phase, failure.Message = f.Phase, Clean(f.Err.Error())
		}
	}
	k.m.cfg.Logger.Warn("a container did not start", "container", c.Name, "instance", c.Instance, "err", err)
	_ = k.m.insist(k.m.ctx, []store.Key{c.Key()}, func(tx store.Tx) error {
		_, err := k.markStopping(tx, failure)
		return err
	})
	return err
}

// notice cancels a start when another replica has marked the container as stopping, or its instance is gone, until the
// returned function is called.
func (k *keeper) notice(ctx context.Context, cancel context.CancelFunc) (stop func()) {
	wake, release := k.m.cfg.Store.Notify(store.ContainerKey(k.id))
	done := make(chan struct{})
	k.m.going.Go(func() {
		for ctx.Err() == nil {
			c, in, err := k.m.look(ctx, k.id)
			if err == nil && (c == nil || c.State == store.ContainerStopping || !serves(in)) {
				cancel()
			}
			select {
			case <-done:
				return
			case <-ctx.Done():
			case <-wake:
			case <-time.After(poll):
			}
		}
	})
	return func() { close(done); release() }
}

func (k *keeper) startUp(ctx context.Context, c *store.Container) (Inside, agent.Mirror, error) {
	ensureCtx, cancel := context.WithTimeout(ctx, k.m.cfg.StartTimeout)
	defer cancel()
	inside, err := k.ensure(ensureCtx, c)
	if err != nil {
		return nil, agent.Mirror{}, &StartFailure{Phase: "starting", Err: err}
	}
	fetchCtx, cancel := context.WithTimeout(ctx, k.m.cfg.FetchTimeout)
	defer cancel()
	k.m.mu.Lock()
	cred := k.cred
	k.m.mu.Unlock()
	k.m.cfg.OnProgress(*c, "fetching the repository")
	mirror, err := k.m.fetch(fetchCtx, c, inside, agent.Fetch{
		URL: c.Remote, Username: cred.Username, Password: cred.Password,
	})
	k.m.mu.Lock()
	k.cred = Credential{}
	k.m.mu.Unlock()
	if err != nil {
		return inside, mirror, &StartFailure{Phase: "fetching", Err: err}
	}
	return inside, mirror, nil
}

// startTries is how often an engine that fails for no lasting reason is asked to start a container.
const startTries = 3

// ensure makes the container run and attaches to it.
func (k *keeper) ensure(ctx context.Context, c *store.Container) (Inside, error) {
	for try := 1; ; try++ {
		inside, err := k.ensureOnce(ctx, c)
		if err == nil || try == startTries || ctx.Err() != nil || lasting(err) {
			return inside, err
		}
		k.m.failed("cannot start a container; trying again", err, "container", c.Name, "instance", c.Instance, "try", try)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
	}
}

// lasting reports whether trying again soon cannot help.
func lasting(err error) bool {
	for _, final := range []error{ErrImage, ErrNameTaken, ErrInUse, ErrWrongHost, errInstanceGone} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

func (k *keeper) ensureOnce(ctx context.Context, c *store.Container) (Inside, error) {
	in, err := k.m.instanceOf(ctx, c.Instance)
	if err != nil {
		return nil, err
	}
	h, err := k.m.host(ctx, in)
	if err != nil {
		return nil, err
	}
	spec := ContainerSpec{Name: c.Name, Key: c.SharingKey, Limits: k.m.cfg.Limits, Sessions: in.Slots}
	if k.m.cfg.ImageFor != nil {
		spec.Image = k.m.cfg.ImageFor(c.SharingKey.Repository)
	}
	k.m.cfg.OnProgress(*c, "starting the container")
	made, err := h.Ensure(ctx, spec, func(message string) { k.m.cfg.OnProgress(*c, message) })
	if err != nil {
		return nil, err
	}
	c.EngineID = made.ID
	inside, err := h.Attach(ctx, made.ID)
	if err != nil || !made.Adopted {
		return inside, err
	}
	// It ran already, left over from a start that was cut off: no session of now is in it.
	open, err := inside.Sessions(ctx)
	for id, uid := range open {
		err = errors.Join(err, inside.CloseSession(ctx, id, uid))
	}
	if err != nil {
		inside.Close()
		return nil, err
	}
	return inside, nil
}

// Refresh brings the mirror of a ready container up to date if it is older than the configured age or lacks the
// branch, for a session that is about to be attached.
func (m *Manager) Refresh(ctx context.Context, s *store.Session, inside Inside, cred Credential) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.FetchTimeout)
	defer cancel()
	age := m.cfg.MirrorMaxAge
	if age < 0 {
		age = 1<<63 - 1
	}
	c := store.Container{ID: s.Container, Name: s.ContainerName, SharingKey: s.SharingKey, Instance: s.Instance}
	_, err := m.fetch(ctx, &c, inside, agent.Fetch{
		URL: s.Remote, Username: cred.Username, Password: cred.Password, Branch: s.Branch, MaxAge: age,
	})
	return err
}

func (m *Manager) fetch(ctx context.Context, c *store.Container, inside Inside, f agent.Fetch) (agent.Mirror, error) {
	mirror, err := inside.Fetch(ctx, f, func(p agent.Progress) {
		message := p.Phase
		if p.Percent >= 0 {
			message = fmt.Sprintf("%s: %d %%", p.Phase, p.Percent)
		}
		m.cfg.OnProgress(*c, message)
	})
	if mirror.Fetched {
		m.fetches.Add(1)
	}
	return mirror, err
}

// storeReady stores that the container is ready, and that its instance has the mirror.
func (k *keeper) storeReady(ctx context.Context, c *store.Container, mirror agent.Mirror) error {
	keys := []store.Key{c.Key(), store.SharingKey(c.Name), store.MirrorsKey(c.Instance)}
	err := k.m.insist(ctx, keys, func(tx store.Tx) error {
		now, err := store.Find[*store.Container](tx, c.Key())
		switch {
		case err != nil:
			return err
		case now == nil || now.Owner != k.m.cfg.Replica:
			return errStopping
		case now.State == store.ContainerReady:
			return nil // an earlier try was committed
		case now.State != store.ContainerStarting:
			return errStopping
		}
		now.State, now.Since, now.EngineID, now.Cold = store.ContainerReady, time.Now(), c.EngineID, mirror.Cold
		c.Cold = mirror.Cold
		if err := tx.Put(now); err != nil {
			return err
		}
		return noteMirror(tx, c.Instance, c.Name, mirror.Size, now.Since)
	})
	if err == nil {
		k.m.going.Go(func() { k.m.evict(c.Instance) })
	}
	return err
}

// maxMessage bounds what is kept of the words of git and the engine.
const maxMessage = 4 << 10

// Clean makes the words of git or an engine fit for a record: valid UTF-8 without NUL, of bounded length.
func Clean(message string) string {
	message = strings.ReplaceAll(strings.ToValidUTF8(message, "\uFFFD"), "\x00", "\uFFFD")
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}
