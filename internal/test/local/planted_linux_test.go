package local_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/pgtest"
	"github.com/berth-go/berth/internal/test/secrets"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
	"github.com/berth-go/berth/store/sqlitestore"
)

// TestPlantedSecretsAreFoundNowhere leads a pool through its life on the real engine, with a secret of its own in each
// place where the host gives berth one. It then searches everything that berth writes, shows or leaves. One more secret
// is leaked on purpose in each place, and must be found there.
func TestPlantedSecretsAreFoundNowhere(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Missing(t, "not tested: only root can read the environment of processes in containers")
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "berth.db")
		st, err := sqlitestore.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		l := newPlanting(t, st, func(s *secrets.Search) slog.Handler {
			return slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})
		})
		l.live(func() { l.search.Files(t, "the store's files", file+"*") })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		server := pgtest.Start(t)
		database := server.DSN(server.Database(t))
		st, err := pgstore.Open(t.Context(), database, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		l := newPlanting(t, st, func(s *secrets.Search) slog.Handler {
			return slog.NewJSONHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})
		})
		l.live(func() {
			l.search.Database(t, "the store's files", database)
			l.search.Files(t, "the database's log of changes", filepath.Join(server.Dir, "data/pg_wal/0*"))
		})
	})
}

// planting is a pool with planted secrets. The names of the secrets say where they were planted.
type planting struct {
	*local.Pool
	search *secrets.Search
	engine *secrets.Engine
	watch  *secrets.Processes
	store  store.Store
	logger *slog.Logger
	event  func(berth.Event)
	begun  time.Time
	key    []byte // of the sealer
	image  string // which the engine does not have, and whose registry refuses

	telemetry telemetry
	snapshots orchestrator.SnapshotStore
	layers    chan berth.Event // of workspaces that were prepared

	mu     sync.Mutex        // protects what follows
	values map[string]string // of the secrets, by name
	owners map[string]int    // the uid of the session that a secret belongs to
}

// The places that are searched.
var places = []string{
	"the log", "an error", "an event", "a record", "the store's files", "what the Provider tells", "metrics", "traces",
	"the dashboard", "a patch", "a snapshot", "saved work",
	"a container's settings", "docker top", "a container's log", "a container's files", "a volume's files", "files in memory",
	"a volume's settings", "a network's settings", "the engine's events",
	"a process's arguments", "a process's environment", "what a neighbour sees",
}

const control = "the control"

func newPlanting(t *testing.T, st store.Store, handler func(*secrets.Search) slog.Handler) *planting {
	t.Helper()
	l := &planting{search: secrets.New(), store: st, begun: time.Now(), values: make(map[string]string), owners: make(map[string]int)}
	for _, name := range []string{
		control, "the environment of all", "the session's environment", "the neighbour's environment", "the command's environment",
		"the password", "the wrong password", "the password of the echo", "the password of the registry",
		"the password that is asked for",
	} {
		l.values[name] = l.search.Plant(name)
	}
	l.key = l.search.Key("the sealer's key", seal.KeySize)
	sealer, err := seal.AES(l.key)
	if err != nil {
		t.Fatal(err)
	}
	l.logger = slog.New(handler(l.search))
	l.event = func(e berth.Event) {
		l.search.Value("an event", e)
		l.search.Error(e.Err)
		if e.Type == berth.EventPrepared {
			select {
			case l.layers <- e:
			default:
			}
		}
	}
	l.layers = make(chan berth.Event, 1)
	if l.snapshots, err = dirsnapshots.New(dirsnapshots.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	l.image, l.telemetry = refusingRegistry(t), l.newTelemetry()
	l.Pool = local.New(t, berth.Config{
		// A fetch takes the variables of a proxy.
		Env:   map[string]string{"TOKEN_OF_ALL": l.values["the environment of all"], "ftp_proxy": l.proxy()},
		Store: l.search.Store(st), Sealer: sealer, MaxTasksPerInstance: 3, MirrorMaxAge: 1, QueueTimeout: 300 * time.Millisecond,
		Logger: l.logger, OnEvent: l.event,
		MeterProvider: l.telemetry.meters, TracerProvider: l.telemetry.tracers, MetricRepositories: 100,
		Snapshots: l.snapshots, SaveWork: berth.SaveToSnapshots, PrepareFor: l.prepares,
		ImageFor: func(r naming.Repository) string {
			if strings.Contains(r.Path, "private-image") {
				return l.image
			}
			return ""
		},
		Credentials: func(_ context.Context, r berth.CredentialRequest) (berth.Credential, error) {
			if !strings.Contains(r.URL, "org/asked") {
				return berth.Credential{}, nil
			}
			return berth.Credential{Username: "robot", Password: l.values["the password that is asked for"]}, nil
		},
		RegistryAuth: func(context.Context, string) (orchestrator.RegistryAuth, error) {
			return orchestrator.RegistryAuth{Username: "robot", Password: l.values["the password of the registry"]}, nil
		},
	})
	l.engine = &secrets.Engine{Search: l.search, T: t, Docker: l.Docker, Pool: l.Name}
	l.engine.Listen()
	return l
}

func (l *planting) proxy() string {
	return "http://robot:" + l.values["the environment of all"] + "@proxy.invalid"
}

// refusingRegistry returns the name of an image in a registry that asks for credentials and refuses them, in words that
// repeat them.
func refusingRegistry(t *testing.T) string {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"%s:%s is refused: %s"}]}`, user, password, r.Header.Get("Authorization"))
	}))
	t.Cleanup(registry.Close)
	return strings.TrimPrefix(registry.URL, "http://") + "/private/image:1"
}

// allowed says which secrets a process has in its environment by design. A command has those of its session. git has the
// credential for its helper, under a uid that no session has: only root and that uid can read its environment.
func (l *planting) allowed(p secrets.Process, secret string) bool {
	const mirror, preparation = 9999, 9997
	switch {
	case p.UID == mirror:
		return strings.Contains(secret, "password") && secret != "the password of the registry" || secret == "the environment of all"
	case p.UID == preparation:
		return secret == "the environment of all"
	case p.UID >= store.MinUID && p.UID <= store.MaxUID:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.owners[secret] == p.UID || secret == "the environment of all"
	}
	return false
}

// own makes a secret that of a session.
func (l *planting) own(s *berth.Session, secret string) {
	l.T.Helper()
	record, err := store.Read[*store.Session](l.T.Context(), l.store, store.SessionKey(s.ID()))
	if err != nil {
		l.T.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners[secret] = record.UID
}
