package pgtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-go/berth/internal/test/testenv"
)

// Bouncer starts a PgBouncer in front of the server, in a mode ("session", "transaction"), and returns the URL of a
// database through it. It ends with the test.
func (s *Server) Bouncer(t testing.TB, mode, database string) (dsn string) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) { // not in every user's PATH
			testenv.Missing(t, "needs PgBouncer: neither PATH nor /usr/sbin has pgbouncer")
		}
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(s.Dir, "bouncer")
	if err != nil {
		t.Fatal(err)
	}
	users, settings, log := filepath.Join(dir, "users"), filepath.Join(dir, "ini"), filepath.Join(dir, "log")
	for path, text := range map[string]string{
		users: fmt.Sprintf("%q %q\n", "postgres", s.password),
		settings: fmt.Sprintf("[databases]\n* = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
			"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = %s\nlogfile = %s\npool_mode = %s\ndefault_pool_size = 100\n",
			s.port, port, users, log, mode),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := own(dir, users, settings); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-q", settings)
	cmd.Dir, cmd.SysProcAttr = dir, attributes()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
	dsn = s.dsn(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), database)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			_ = conn.Close(ctx)
			return dsn
		}
		select {
		case <-p.ended:
			said, _ := os.ReadFile(log)
			t.Fatalf("PgBouncer ended at once:\n%s", said)
		case <-ctx.Done():
			t.Fatalf("PgBouncer does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
