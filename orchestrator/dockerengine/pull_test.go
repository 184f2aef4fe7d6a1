package dockerengine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// pulling is a host that has to pull its image.
type pulling struct {
	orchestrator.Host
	*registry
	docker *client.Client
	pool   string
	asked  []string    // the images for which RegistryAuth was called
	said   []string    // the progress that ensure reported
	log    *lockedText // of the engine
}

func newPulling(t *testing.T, bearer bool, auth func() (orchestrator.RegistryAuth, error)) *pulling {
	t.Helper()
	p := &pulling{docker: testenv.Docker(t), pool: testenv.PoolName(t), registry: startRegistry(t, bearer), log: &lockedText{}}
	opts := dockerengine.Options{
		Logger: slog.New(slog.NewTextHandler(p.log, nil)),
		RegistryAuth: func(_ context.Context, image string) (orchestrator.RegistryAuth, error) {
			p.asked = append(p.asked, image)
			return auth()
		},
	}
	at := orchestrator.Endpoint{Pool: p.pool, PoolUID: "one", Launch: "launch-1", Address: p.docker.DaemonHost()}
	var err error
	if p.Host, err = dockerengine.New(opts).Connect(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Purge(context.Background()); err != nil {
			t.Errorf("Purge: %v", err)
		}
		p.Host.Close()
	})
	return p
}

func (p *pulling) spec(path string) orchestrator.ContainerSpec {
	key := naming.Key{Repository: naming.Repository{Host: "example.org", Path: path}}
	return orchestrator.ContainerSpec{Name: key.ContainerName(p.pool), Key: key, Image: p.image}
}

func (p *pulling) ensure(t *testing.T) error {
	t.Helper()
	_, err := p.Ensure(t.Context(), p.spec("acme/widgets"), func(line string) { p.said = append(p.said, line) })
	return err
}

// wantNoSecret checks everything that a pull shows.
func (p *pulling) wantNoSecret(t *testing.T, seen ...any) {
	t.Helper()
	text := fmt.Sprint(append(seen, p.said, p.log.String())...)
	for _, secret := range []string{registryPassword, registryToken, wrongPassword} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is told: %s", secret, text)
		}
	}
}

const wrongPassword = "wr0ng-s3cret"

func rightAuth() (orchestrator.RegistryAuth, error) {
	return orchestrator.RegistryAuth{Username: registryUser, Password: registryPassword}, nil
}

func wrongAuth() (orchestrator.RegistryAuth, error) {
	return orchestrator.RegistryAuth{Username: registryUser, Password: wrongPassword}, nil
}

// ways are the ways in which a registry may ask for credentials.
var ways = map[string]bool{"by password": false, "by token": true}

func TestPullWithCredentials(t *testing.T) {
	for name, bearer := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPulling(t, bearer, rightAuth)
			if err := p.ensure(t); err != nil {
				t.Fatal(err)
			}
			if len(p.asked) != 1 || p.asked[0] != p.image {
				t.Errorf("credentials were wanted for %q", p.asked)
			}
			if len(p.said) == 0 || !strings.Contains(p.said[0], p.image) {
				t.Errorf("the progress is %q", p.said)
			}
			container, err := p.docker.ContainerInspect(t.Context(), p.spec("acme/widgets").Name, client.ContainerInspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var image bytes.Buffer
			if _, err := p.docker.ImageInspect(t.Context(), p.image, client.ImageInspectWithRawResponse(&image)); err != nil {
				t.Fatal(err)
			}
			p.wantNoSecret(t, string(container.Raw), image.String())
		})
	}
}

func TestPullWithWrongCredentials(t *testing.T) {
	for name, bearer := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPulling(t, bearer, wrongAuth)
			err := p.ensure(t)
			if !errors.Is(err, orchestrator.ErrImage) {
				t.Fatalf("the error is %v; want ErrImage", err)
			}
			for _, words := range []string{p.image, "docker pull", "RegistryAuth"} {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("the error does not say %q: %v", words, err)
				}
			}
			p.wantNoSecret(t, err)
			if len(p.asked) != 1 {
				t.Errorf("what was refused was tried %d times", len(p.asked))
			}
		})
	}
}

func TestPullThatFailsIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]func(*registry){
		"cut off": func(r *registry) { r.cut = 1 },
		"busy":    func(r *registry) { r.busy = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPulling(t, false, rightAuth)
			fault(p.registry)
			if err := p.ensure(t); err != nil {
				t.Fatal(err)
			}
			if len(p.asked) < 2 || !strings.Contains(strings.Join(p.said, "\n"), "tried again") {
				t.Errorf("credentials were wanted for %q and the progress is %q", p.asked, p.said)
			}
			p.wantNoSecret(t)
		})
	}
}

func TestPullWithoutCredentialsToAskWith(t *testing.T) {
	cause := errors.New("the vault is closed")
	p := newPulling(t, false, func() (orchestrator.RegistryAuth, error) { return orchestrator.RegistryAuth{}, cause })
	if err := p.ensure(t); !errors.Is(err, cause) || !errors.Is(err, orchestrator.ErrImage) || len(p.asked) != 1 {
		t.Errorf("after %d tries the error is %v", len(p.asked), err)
	}
}

func TestPullWithCredentialsThatPanic(t *testing.T) {
	p := newPulling(t, false, func() (orchestrator.RegistryAuth, error) { panic("the vault is closed") })
	if err := p.ensure(t); !errors.Is(err, orchestrator.ErrImage) || !strings.Contains(err.Error(), "the vault is closed") {
		t.Error(err)
	}
}

func TestImageIsPulledOnce(t *testing.T) {
	p := newPulling(t, false, rightAuth)
	prefetch := func() error {
		return p.Host.(orchestrator.Prefetcher).Prefetch(t.Context(), p.image, nil)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if _, err := p.Ensure(t.Context(), p.spec(fmt.Sprint("acme/widgets-", i)), nil); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := prefetch(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := prefetch(); err != nil {
		t.Error(err)
	}
	if len(p.asked) != 1 || p.most() != 1 {
		t.Errorf("there were %d pulls: %v", len(p.asked), p.pulls)
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	auth := orchestrator.RegistryAuth{Username: "u", Password: "s3cret-1", IdentityToken: "s3cret-2", RegistryToken: "s3cret-3"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{auth, &auth, struct{ A orchestrator.RegistryAuth }{auth}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "s3cret") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
}

// lockedText is a buffer for several goroutines.
type lockedText struct {
	mu   sync.Mutex // protects text
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPullByDigest(t *testing.T) {
	p := newPulling(t, false, rightAuth)
	repository := strings.TrimSuffix(p.image, ":1")
	byDigest := repository + "@" + digest(p.manifest)
	t.Cleanup(func() {
		if _, err := p.docker.ImageRemove(context.Background(), byDigest, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	spec := p.spec("acme/widgets")
	spec.Image = byDigest
	for range 2 { // the second time, the engine has it
		if _, err := p.Ensure(t.Context(), spec, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Remove(t.Context(), spec.Name, ""); err != nil {
			t.Fatal(err)
		}
	}
	spec.Image = repository + "@sha256:" + strings.Repeat("0", 64)
	if _, err := p.Ensure(t.Context(), spec, nil); !errors.Is(err, orchestrator.ErrImage) {
		t.Errorf("another digest: %v", err)
	}
}
