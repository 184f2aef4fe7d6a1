package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/pause"
)

const (
	// mostPayload is the largest payload of a notification in bytes, less than the server's 8,000.
	mostPayload = 7900
	// mostPayloads bounds the notifications of a commit. One that wrote more keys wakes everybody.
	mostPayloads = 8
	everything   = "*"

	// listenPing is how often a listener that hears nothing asks whether the server is there.
	listenPing = 15 * time.Second
	// A listener that has no connection tries again after these times, and wakes every watcher meanwhile: to look is all
	// that is left to them.
	leastPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
)

// channel is the one that the replicas of a pool listen on.
func channel(schema string) string { return "berth:" + schema }

// payloads says that the records of keys were written, by self. The server's lock on notifications is taken once per
// commit, however many there are.
func payloads(self string, keys []store.Key) []string {
	var all []string
	text := []byte(self)
	for _, key := range keys {
		begin := len(text)
		text = strconv.AppendInt(text, int64(key.Kind), 10)
		text = append(text, ':')
		text = strconv.AppendInt(text, int64(len(key.ID)), 10)
		text = append(text, ':')
		text = append(text, key.ID...)
		if len(text) > mostPayload {
			all = append(all, string(text[:begin]))
			text = append([]byte(self), text[begin:]...)
		}
		if len(all) == mostPayloads {
			return []string{self + everything}
		}
	}
	return append(all, string(text))
}

// heard wakes the watchers of the keys that a notification names.
func (s *Store) heard(payload string) {
	rest, ours := strings.CutPrefix(payload, s.self)
	if ours {
		return // they were woken when the commit was answered
	}
	if len(rest) < len(s.self) {
		s.watch.WakeAll()
		return
	}
	for rest = rest[len(s.self):]; rest != ""; {
		kind, size, ok := 0, 0, false
		if kind, rest, ok = cutNumber(rest); ok {
			size, rest, ok = cutNumber(rest)
		}
		if !ok || size > len(rest) {
			s.watch.WakeAll() // the payload says "everything", or is of a newer release
			return
		}
		s.watch.Wake(store.Key{Kind: store.Kind(kind), ID: rest[:size]})
		rest = rest[size:]
	}
}

// cutNumber returns the number before the next colon.
func cutNumber(s string) (n int, rest string, ok bool) {
	text, rest, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(text)
	return n, rest, ok && err == nil && n >= 0
}

// listen hears of the commits of other processes until the store is closed.
func (s *Store) listen(config *pgxpool.Config) {
	for next := leastPause; ; next = min(2*next, mostPause) {
		heard, err := s.listenOnce(config)
		if s.ctx.Err() != nil {
			return
		}
		if heard {
			next = leastPause
		}
		s.opts.Logger.Warn("pgstore: does not hear of other processes' commits; connecting again", "schema", s.opts.Schema, "error", err)
		s.watch.WakeAll()
		if pause.Sleep(s.ctx, next/2+rand.N(next)) != nil {
			return
		}
	}
}

// listenOnce listens on one connection until that is lost. heard: it was made.
func (s *Store) listenOnce(config *pgxpool.Config) (heard bool, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, answerTimeout)
	defer cancel()
	conn, err := dial(ctx, config)
	if err != nil {
		return false, explain("connecting", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	// One that takes nothing must not keep the server's queue of notifications from moving on.
	if _, err := conn.Exec(ctx, fmt.Sprintf("SET tcp_user_timeout = '%d'", s.opts.StallTimeout.Milliseconds())); err != nil {
		return false, explain("listening", err)
	}
	if _, err := conn.Exec(ctx, `LISTEN "`+channel(s.opts.Schema)+`"`); err != nil {
		return false, explain("listening", err)
	}
	s.watch.WakeAll() // for commits from before
	for {
		quiet, cancel := context.WithTimeout(s.ctx, listenPing)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case err == nil:
			s.heard(n.Payload)
		case s.ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return true, explain("listening", err)
		default:
			ctx, cancel := context.WithTimeout(s.ctx, answerTimeout)
			err := conn.Ping(ctx)
			cancel()
			if err != nil {
				return true, explain("listening", err)
			}
		}
	}
}
