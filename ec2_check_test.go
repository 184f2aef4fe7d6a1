package berth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/ec2world"
	"github.com/berth-go/berth/internal/test/secrets"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

// looks are the two ways to check a Config.
var looks = map[string]func(context.Context, berth.Config) error{
	"NewEC2SharedProvider": func(ctx context.Context, cfg berth.Config) error {
		p, err := berth.NewEC2SharedProvider(ctx, cfg)
		if err == nil {
			p.Close()
		}
		return err
	},
	"CheckEC2": func(ctx context.Context, cfg berth.Config) error {
		_, err := berth.CheckEC2(ctx, cfg)
		return err
	},
}

// TestEC2ListsAllOfAConfig: a fault that one stage finds does not hide the faults that the next stage finds. Each is
// listed once, by the field's name in Config.
func TestEC2ListsAllOfAConfig(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		wrong := a.Config
		wrong.Name, wrong.BootTimeout, wrong.MaxTasksPerInstance = "no name", time.Millisecond, -3
		wrong.EC2.Spot, wrong.EC2.Tags = "sometimes", map[string]string{"berth:pool": "another"}
		wrong.EC2.DeadMan, wrong.EC2.BootScript = 30*time.Second, "true\nEND-OF-BERTH-FILE\n"
		wrong.EC2.Daemon = map[string]any{"tlsverify": false}
		wrong.EC2.AvoidCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		wrong.EC2.Types = []string{"t9.large"}
		for name, look := range looks {
			err := look(a.Context(), wrong)
			if _, ok := errors.AsType[*ec2cloud.PreflightError](err); !ok || !errors.Is(err, berth.ErrInvalid) {
				a.Errorf("%s: want faults of both kinds: %v", name, err)
			}
			for _, field := range []string{
				"Name", "BootTimeout", "MaxTasksPerInstance", "EC2.Spot", "EC2.Tags", "EC2.DeadMan", "EC2.BootScript", "EC2.Daemon", "EC2.AvoidCIDRs",
			} {
				if n := strings.Count(fmt.Sprint(err), "invalid Config."+field+": "); n != 1 {
					a.Errorf("%s: the error names Config.%s %d times: %v", name, field, n, err)
				}
			}
			if text := fmt.Sprint(err); !strings.Contains(text, "correct Config.EC2.Types") || strings.Contains(text, "hostboot") {
				a.Errorf("%s: %v", name, err)
			}
		}
		a.Alive(0)
		if texts := a.Store.Texts(); len(texts) > 0 {
			a.Errorf("the store holds %q", texts)
		}

		wrong = a.Config // faults that AWS finds, and faults of the boot settings
		wrong.EC2.Types, wrong.BootTimeout = []string{"t9.large"}, time.Millisecond
		for name, look := range looks {
			err := look(a.Context(), wrong)
			if text := fmt.Sprint(err); !strings.Contains(text, "correct Config.EC2.Types") || !strings.Contains(text, "invalid Config.BootTimeout") {
				a.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestEC2OneFieldIsWrong: one wrong field gives a FieldError, no matter which stage finds it.
func TestEC2OneFieldIsWrong(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		for field, spoil := range map[string]func(c *berth.Config){
			"Config.BootTimeout":        func(c *berth.Config) { c.BootTimeout = time.Millisecond },
			"Config.EC2.Spot":           func(c *berth.Config) { c.EC2.Spot = "always" },
			"Config.EC2.Tags":           func(c *berth.Config) { c.EC2.Tags = map[string]string{"aws:x": ""} },
			"Config.EC2.Subnets":        func(c *berth.Config) { c.EC2.Subnets = []string{""} },
			"Config.EC2.SecurityGroups": func(c *berth.Config) { c.EC2.SecurityGroups = []string{""} },
			"Config.EC2.Types":          func(c *berth.Config) { c.EC2.Types = []string{"t3.large", ""} },
			"Config.EC2.ImageID":        func(c *berth.Config) { c.EC2.ImageID = "/the/parameter" },
			"Config.EC2.Volume.GiB":     func(c *berth.Config) { c.EC2.Volume.GiB = -1 },
			"Config.EC2.BootScript":     func(c *berth.Config) { c.EC2.BootScript = noRoom() },
			"Config.EC2.Daemon":         func(c *berth.Config) { c.EC2.Daemon = map[string]any{"x": noRoom()} },
			"Config.EC2.AvoidCIDRs":     func(c *berth.Config) { c.EC2.AvoidCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		} {
			cfg := a.Config
			spoil(&cfg)
			for name, look := range looks {
				err := look(a.Context(), cfg)
				e, ok := errors.AsType[*berth.FieldError](err)
				if !ok || e.Field != field || strings.Count(err.Error(), "invalid Config.") != 1 || berth.Retryable(err) {
					a.Errorf("%s: want a FieldError of %s: %v", name, field, err)
				}
			}
		}
	})
}

// TestEC2DeadManIsLongerThanTheTouches: a shorter DeadMan would end healthy instances.
func TestEC2DeadManIsLongerThanTheTouches(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		for deadMan, ok := range map[time.Duration]bool{
			0: true, -1: true, time.Minute: true, 12 * time.Hour: true,
			time.Minute - 1: false, time.Second: false, 1: false, -2: false, -time.Hour: false, 1<<63 - 1: false,
		} {
			a.Config.EC2.DeadMan = deadMan
			_, err := berth.CheckEC2(a.Context(), a.Config)
			if ok && err != nil {
				a.Errorf("%v: %v", deadMan, err)
			}
			if !ok {
				wantFields(a.T, err, "Config.EC2.DeadMan")
			}
		}
	})
}

// TestEC2NoAddressesBesideTheVPC: the VPC's own blocks and AvoidCIDRs together leave no addresses. CheckEC2 says so,
// too.
func TestEC2NoAddressesBesideTheVPC(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		for _, most := range []string{"172.16.0.0/12", "192.168.0.0/16", "10.128.0.0/9"} {
			a.Config.EC2.AvoidCIDRs = append(a.Config.EC2.AvoidCIDRs, netip.MustParsePrefix(most))
		}
		plan, err := berth.CheckEC2(a.Context(), a.Config)
		if err != nil || len(plan.Networks) == 0 || !strings.Contains(plan.String(), plan.Networks[0].String()) {
			a.Errorf("with some addresses left: %v, %v", plan, err)
		}
		a.Server.AddVPCBlock("10.0.0.0/9", true)
		for _, look := range looks {
			wantFields(a.T, look(a.Context(), a.Config), "Config.EC2.AvoidCIDRs")
		}
	})
}

// stuck is a store whose first updates succeed, and whose later updates do not return.
type stuck struct {
	store.Store
	answers int64
	silent  atomic.Bool // after answers updates; false = it always answers
	updates atomic.Int64
}

func (s *stuck) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if n := s.updates.Add(1); s.silent.Load() && n > s.answers {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Update(ctx, keys, fn)
}

// TestEC2StoreThatHangs: the constructor waits for each update as long as any other call does. It makes three updates:
// the pool's record, its clients, and this process in the record.
func TestEC2StoreThatHangs(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		for answers := range 4 {
			records := &stuck{Store: ec2world.NewSpyStore(), answers: int64(answers)}
			records.silent.Store(true)
			a.Config.Store = records
			ctx, cancel := context.WithTimeout(a.Context(), time.Hour)
			began := time.Now()
			p, err := berth.NewEC2SharedProvider(ctx, a.Config)
			cancel()
			if answers == 3 {
				if err != nil {
					a.Fatalf("it needs more than %d updates: %v", answers, err)
				}
				records.silent.Store(false)
				p.Close()
				return
			}
			if !errors.Is(err, berth.ErrUnavailable) || !berth.Retryable(err) || time.Since(began) > time.Minute {
				a.Errorf("after %d answers and %v: %v", answers, time.Since(began), err)
			}
		}
	})
}

// TestEC2PlantedSecretsAreFoundNowhere leads a pool on EC2 through its life and searches what it writes, tells and sends
// to AWS. TestPlantedSecretsAreFoundNowhere does so on a real engine.
func TestEC2PlantedSecretsAreFoundNowhere(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		s := secrets.New()
		control, env := s.Plant("the control"), s.Plant("the session's environment")
		all, password := s.Plant("the environment of all"), s.Plant("the password")
		sealer, err := seal.AES(s.Key("the sealer's key", seal.KeySize))
		if err != nil {
			a.Fatal(err)
		}
		calls := &recorder{client: a.Server.Client()}
		sdk := a.Config.EC2.AWS.Copy()
		sdk.HTTPClient = calls
		engine := fake.NewEngine(fake.EngineOptions{})
		a.Cleanup(func() { engine.Close() })
		cfg := a.Config
		cfg.Sealer, cfg.Env, cfg.Store, cfg.EC2.AWS = sealer, map[string]string{"TOKEN_OF_ALL": all}, s.Store(a.Store), &sdk
		cfg.EC2.Tags = map[string]string{"leak": control}
		var told bytes.Buffer
		cfg.OnEvent = func(e berth.Event) { fmt.Fprintf(&told, "%+v\n", e) }
		cfg.Logger = slog.New(slog.NewJSONHandler(a.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Logger.Info(control)
		p, err := berth.NewEC2WithEngine(a.Context(), cfg, engine)
		if err != nil {
			a.Fatal(err)
		}
		defer p.Close()
		request := world.Request("t", "https://robot:"+password+"@github.com/acme/a")
		request.Env, request.Labels = map[string]string{"TOKEN": env}, map[string]string{"leak": control}
		session, err := p.CreateSession(a.Context(), request)
		if err != nil {
			a.Fatal(err)
		}
		s.Value("what the Provider tells", []any{session.Info(), p.Stats()})
		launched := a.Alive(1)[0]
		clients, err := sealer.Open(a.Context(), a.Pool().ClientKey, []byte("client authority of pool "+cfg.Name))
		if err != nil {
			a.Fatal(err)
		}
		if err := p.Destroy(a.Context()); err != nil {
			a.Fatal(err)
		}
		told.WriteString(control)
		time.Sleep(time.Minute)

		// The keys were not known before. All that was written is searched for them.
		addKey(s, "the engine's key", a.BootPEM(launched).Key)
		addKey(s, "the clients' key", clients)
		for _, text := range a.Store.Texts() {
			s.Look("a record", "put", []byte(text))
		}
		s.Look("the log", "all of it", []byte(a.Log.String()))
		s.Look("an event", "one of all", told.Bytes())
		for _, call := range calls.sent {
			s.Look("a call to AWS", "one of all", []byte(call))
		}
		for _, fault := range s.Check("the control", "a record", "the log", "an event", "a call to AWS", "what the Provider tells") {
			a.Error(fault)
		}
	})
}

// addKey adds a key in PEM: its bytes, and a line of its text.
func addKey(s *secrets.Search, name string, text []byte) {
	block, _ := pem.Decode(text)
	s.Add(name, block.Bytes)
	s.Add(name+" in PEM", bytes.Split(text, []byte("\n"))[1])
}

// recorder keeps what is sent to AWS, without the user data of instances, which hold their engine's key by design.
type recorder struct {
	client interface {
		Do(*http.Request) (*http.Response, error)
	}

	mu   sync.Mutex // protects sent
	sent []string
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	body := []byte{}
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	sent := string(body)
	if form, err := url.ParseQuery(sent); err == nil && form.Has("UserData") {
		form.Del("UserData")
		sent = form.Encode()
	}
	r.mu.Lock()
	r.sent = append(r.sent, fmt.Sprint(req.URL, req.Header, sent))
	r.mu.Unlock()
	return r.client.Do(req)
}

// noRoom returns a script for which user data has no room, even if it is compressed.
func noRoom() string {
	var b strings.Builder
	for range 2000 {
		b.WriteString("# " + rand.Text() + "\n")
	}
	return b.String()
}
