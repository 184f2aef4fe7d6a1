package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
)

const (
	// atOnce is how many batches of Updates run at the same time. One waits for the disk while the next one runs; of
	// more, each gets smaller.
	atOnce = 2
	// leastConns leaves some connections for Views.
	leastConns   = atOnce + 2
	defaultConns = 10
)

// Open connects to the database of a connection string (a URL, or "host=… user=…"; see pgxpool.ParseConfig for its
// parameters), brings its tables up to date, and returns the store in them. Several processes may do so at once.
func Open(ctx context.Context, connString string, opts Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(connString)
	if err != nil {
		// The parser's message may quote a password.
		return nil, errors.New("pgstore: the connection string cannot be read: want postgres://user:password@host:port/database?name=value, " +
			"with special characters of the password as %XX, or host=… port=… user=… password=… dbname=…")
	}
	if !strings.Contains(connString, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	config.ConnConfig.DialFunc = (&net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
	}).DialContext
	return OpenConfig(ctx, config, opts)
}

// OpenConfig is Open with a configuration, for settings that a connection string cannot hold, such as changing tokens
// (BeforeConnect) or a dialer. config comes from pgxpool.ParseConfig; OpenConfig copies it.
func OpenConfig(ctx context.Context, config *pgxpool.Config, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, sql: newStatements(opts.Schema), self: rand.Text()[:8]}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	config = s.configure(config.Copy())
	if err := s.migrate(ctx, config); err != nil {
		s.cancel()
		return nil, err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		s.cancel()
		return nil, explain("connecting", err)
	}
	s.views = make(chan struct{}, config.MaxConns-atOnce)
	s.updates = rows.NewBatcher(backend{s}, atOnce, func(keys []store.Key) {
		if s.watch.Any() {
			for _, key := range keys {
				s.watch.Wake(key)
			}
		}
	})
	s.listener.Go(func() { s.listen(config) })
	return s, nil
}

// configure sets up connections as the store needs them.
func (s *Store) configure(config *pgxpool.Config) *pgxpool.Config {
	config.MaxConns = max(config.MaxConns, leastConns)
	conn := config.ConnConfig
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "berth"
	}
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if conn.StatementCacheCapacity == 0 {
		conn.StatementCacheCapacity = 512
	}
	theirs := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if theirs != nil {
			if err := theirs(ctx, conn); err != nil {
				return err
			}
		}
		if _, err := conn.PgConn().Exec(ctx, s.settings()).ReadAll(); err != nil {
			return fmt.Errorf("preparing the connection: %w", err)
		}
		for name, sql := range s.sql.prepared {
			if _, err := conn.Prepare(ctx, name, sql); err != nil {
				return fmt.Errorf("preparing the connection: %w", err)
			}
		}
		return nil
	}
	return config
}

// settings are those of a session. They are set by a statement, since PgBouncer refuses them in a startup message.
//
// The planner goes by the indexes that are made for the queries, whatever it thinks of a table that has just been
// filled, and plans each statement once.
func (s *Store) settings() string {
	stall := fmt.Sprint(s.opts.StallTimeout.Milliseconds())
	var sql strings.Builder
	for _, setting := range [][2]string{
		{"idle_in_transaction_session_timeout", stall},
		{"tcp_user_timeout", stall}, // a client that takes no answers
		{"statement_timeout", "0"},  // each call has a deadline of its own
		{"lock_timeout", fmt.Sprint(lockTimeout.Milliseconds())},
		{"enable_seqscan", "off"}, {"enable_bitmapscan", "off"}, {"enable_hashjoin", "off"}, {"enable_mergejoin", "off"},
		{"plan_cache_mode", "force_generic_plan"}, {"jit", "off"},
	} {
		fmt.Fprintf(&sql, "SET %s = '%s';", setting[0], setting[1])
	}
	sql.WriteString("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return sql.String()
}

// dial makes a connection that is not one of the pool's.
func dial(ctx context.Context, config *pgxpool.Config) (*pgx.Conn, error) {
	conn := config.ConnConfig.Copy()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, conn); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, conn)
}

// closedOr is ErrClosed if that is why something failed.
func (s *Store) closedOr(err error) error {
	if s.ctx.Err() != nil {
		return store.ErrClosed
	}
	return err
}
