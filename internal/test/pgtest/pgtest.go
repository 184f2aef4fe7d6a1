// Package pgtest gives tests a PostgreSQL server of their own, made from the machine's binaries. It listens on a
// loopback port, and is removed when the test binary ends. Tests may stop, kill and pause it, and cut it off with a [Proxy].
// It commits as any other, but does not wait until the kernel has written to the disk: data that the kernel has is lost only
// when the machine fails, which no test can do.
//
// A package that uses [Shared] has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-go/berth/internal/test/testenv"
)

// patience bounds each step of a server's life. It allows for a busy machine.
const patience = time.Minute

// shared is the server that the tests of one binary have in common.
var shared struct {
	sync.Mutex // also held while the server starts: every caller must wait for that anyway
	main       bool
	server     *Server
}

// Main runs the tests of a package and then ends its shared server.
func Main(m *testing.M) {
	shared.main = true
	code := m.Run()
	if shared.server != nil {
		shared.server.remove()
	}
	os.Exit(code)
}

// Shared returns the server that all tests of the binary share. Do not stop it: other tests may use it.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("pgtest.Shared needs a TestMain that calls pgtest.Main: the server would not be ended")
	}
	if shared.server == nil {
		shared.server = start(t, nil)
	}
	return shared.server
}

// Start returns a server of the test's own, with further settings ("max_connections=10"). It ends with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := start(t, settings)
	t.Cleanup(s.remove)
	return s
}

// Server is a PostgreSQL server.
type Server struct {
	Addr string // host and port
	Dir  string // has all its files

	bin, data, password string
	settings            []string
	port                int
	process             *process // nil while it is stopped
}

// binaries returns the directory of the server's programs. Debian does not put them into PATH.
func binaries(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		testenv.Missing(t, "needs a PostgreSQL server: neither PATH nor /usr/lib/postgresql/*/bin has initdb")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest)
}

func start(t testing.TB, settings []string) *Server {
	t.Helper()
	supported(t)
	s := &Server{bin: binaries(t), password: rand.Text(), settings: settings}
	var err error
	if s.Dir, err = os.MkdirTemp("/tmp", "pg"); err != nil { // short, because the paths of sockets may not be long
		t.Fatal(err)
	}
	s.data = filepath.Join(s.Dir, "data")
	if err = s.init(); err == nil {
		err = s.Up()
	}
	if err != nil {
		s.remove()
		t.Fatalf("no PostgreSQL server could be started from %s: %v", s.bin, err)
	}
	return s
}

// init makes the files of a server.
func (s *Server) init() error {
	secret := filepath.Join(s.Dir, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return err
	}
	if err := own(s.Dir, secret); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata", s.data, "--username", "postgres", "--no-sync",
		"--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--locale", "C")
	cmd.Dir, cmd.SysProcAttr = s.Dir, attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	s.port, s.Addr = port, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// DSN returns the connection URL of a database.
func (s *Server) DSN(database string) string { return s.dsn(s.Addr, database) }

func (s *Server) dsn(addr, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", s.password), Host: addr, Path: database,
		RawQuery: "sslmode=disable&connect_timeout=10"}
	return u.String()
}

// Database makes a database for the test, and returns its name. It is dropped when the test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.Copy(t, "template1")
}

// Copy makes a copy of a database for the test, and returns its name. It cuts all connections to the original.
func (s *Server) Copy(t testing.TB, from string) string {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text()[:12])
	if from != "template1" {
		s.Terminate(t, from)
	}
	if err := s.exec("CREATE DATABASE " + name + " TEMPLATE " + from); err != nil {
		t.Fatalf("making a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if s.process == nil {
			return // it is removed with the server
		}
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return name
}

// Terminate cuts every connection to a database, as an administrator does.
func (s *Server) Terminate(t testing.TB, database string) {
	t.Helper()
	if err := s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database + "'"); err != nil {
		t.Fatalf("cutting connections: %v", err)
	}
}

// exec runs a statement as the administrator.
func (s *Server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
