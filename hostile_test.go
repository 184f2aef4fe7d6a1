package berth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/texts"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
)

// fillFields sets every field of a request that holds text.
func fillFields(r *berth.SessionRequest, values map[string]string) {
	r.TaskID, r.UserID, r.Repository, r.Branch = values["TaskID"], values["UserID"], values["Repository"], values["Branch"]
	r.Author = berth.Author{Name: values["Author.Name"], Email: values["Author.Email"]}
	r.Env = map[string]string{values["Env key"]: values["Env value"]}
	r.NewBranch, r.Restore, r.Snapshot, r.RestoreKept = values["NewBranch"], values["Restore"], values["Snapshot"], values["RestoreKept"]
	r.Labels = map[string]string{values["Labels key"]: values["Labels value"]}
}

// fields are a request's fields that hold text, each with a value that is valid beside the others.
var fields = map[string]string{
	"TaskID": "t", "UserID": "u", "Repository": world.RepoA, "Branch": "main", "Author.Name": "n", "Author.Email": "e",
	"Env key": "K", "Env value": "v", "Labels key": "k", "Labels value": "v",
	"NewBranch": "new", "Restore": "", "Snapshot": "", "RestoreKept": "",
}

// TestEveryTextOfARequestIsTried: a new field of text must join the list.
func TestEveryTextOfARequestIsTried(t *testing.T) {
	known := 0
	for field := range reflect.TypeFor[berth.SessionRequest]().Fields() {
		switch field.Type {
		case reflect.TypeFor[bool](), reflect.TypeFor[time.Duration]():
		case reflect.TypeFor[string]():
			known++
			if _, tried := fields[field.Name]; !tried {
				t.Errorf("SessionRequest.%s is not tried", field.Name)
			}
		case reflect.TypeFor[map[string]string](), reflect.TypeFor[berth.Author]():
			known += 2
			found := false
			for name := range fields {
				found = found || strings.HasPrefix(name, field.Name)
			}
			if !found {
				t.Errorf("SessionRequest.%s is not tried", field.Name)
			}
		default:
			t.Errorf("SessionRequest.%s has the type %v", field.Name, field.Type)
		}
	}
	if known != len(fields) {
		t.Errorf("%d of %d fields", known, len(fields))
	}
}

// FuzzSessionRequest: whatever stands in a field, CreateSession refuses the field or works, and every error, event and line of
// the log is one line that shows as itself.
func FuzzSessionRequest(f *testing.F) {
	for _, seed := range []string{
		"", "x", "x\x1b[2J", "x\nlevel=ERROR msg=forged", "x\r\n", "\u202ex\u2066", "a\u200bb", "\u0085\u009b31m", "\xff\xfe", "x\x00",
		"--upload-pack=x", "-B", "refs/heads/main", "$(id)", `a'"b`, "e\u0301", "\ufe0f", "日本", "👩\u200d💻", strings.Repeat("x", 300),
		"https://h.example/o/\u202er", "https://h.example/o/r\n", "https://u:p\x1b@h.example/o/r", "ssh://g@h\u200b/x", "ext::sh -c id",
		"x%0a%1b", "https://h.example/o/r%0ax",
	} {
		for field := range fields {
			f.Add(field, seed)
		}
	}
	f.Fuzz(func(t *testing.T, field, value string) {
		if _, known := fields[field]; !known {
			return
		}
		tryRequest(t, field, value)
	})
}

// TestRequestsOfChance tries texts of pieces that are dangerous somewhere, also where nobody runs the fuzzer.
func TestRequestsOfChance(t *testing.T) {
	pieces := []string{
		"x", "/", ":", "@", "-", ".", "..", " ", "%0a", "%1b", "\n", "\r", "\t", "\x00", "\x1b[31m", "\x7f", "\u0085", "\u009b", "\u00ad", "\u200b", "\u200d",
		"\u2028", "\u202e", "\u2066", "\ufeff", "\ufe0f", "\U000e0041", "\xff", "日", "e\u0301", "https://", "ssh://", "h.example", "'", `"`, `\`, "$(id)", "\u3164",
	}
	dice := rand.New(rand.NewPCG(1, 2))
	names := slices.Sorted(maps.Keys(fields))
	for range 400 {
		field := names[dice.IntN(len(names))]
		value := ""
		if dice.IntN(2) == 0 {
			value = fields[field]
		}
		for range dice.IntN(5) {
			value += pieces[dice.IntN(len(pieces))]
		}
		tryRequest(t, field, value)
	}
}

func tryRequest(t *testing.T, field, value string) {
	setup := world.Setup{Config: berth.Config{Snapshots: fake.NewSnapshots(fake.SnapshotOptions{}), SaveWork: berth.SaveToSnapshots}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		values := make(map[string]string, len(fields))
		for name, fit := range fields {
			values[name] = fit
		}
		values[field] = value
		var r berth.SessionRequest
		fillFields(&r, values)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s, err := w.CreateSession(ctx, r)
		var unfit *berth.FieldError
		var failed *berth.StartError
		switch {
		case err == nil:
			_ = w.TerminateSession(ctx, s.ID())
		case !texts.IsLine(err.Error()) || len(err.Error()) > 20<<10:
			t.Errorf("%s %q: the error is %q", field, value, err)
		case errors.As(err, &unfit):
			if name, _, _ := strings.Cut(strings.ReplaceAll(field, ".", " "), " "); unfit.Field != "SessionRequest."+name {
				t.Errorf("%s %q: %v", field, value, err)
			}
		case !slices.Contains([]string{"Branch", "Repository", "NewBranch", "Restore", "Snapshot"}, field) || !errors.As(err, &failed): // there may be no such branch
			t.Errorf("%s %q: %v", field, value, err)
		}
		texts.Check(t, w)
	})
}

// TestWordsOfOthersForgeNothing: those of git, of a remote and of the cloud come into errors, events, the log and records.
func TestWordsOfOthersForgeNothing(t *testing.T) {
	const evil = "x\x1b]0;title\a\u202e\u200b\r\nlevel=ERROR msg=forged\u0085\xff"
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Cloud.FailLaunches(1, errors.New(evil))
		w.Engine.Refuse(world.RepoB, &agent.GitError{Op: "clone", Message: "fatal: " + evil})
		a := w.Create("a", world.RepoA)
		_, err := w.CreateSession(t.Context(), world.Request("b", world.RepoB))
		if _, ok := errors.AsType[*berth.StartError](err); !ok || !texts.IsLine(err.Error()) || !strings.Contains(err.Error(), `fatal: x\x1b]0;title`) {
			t.Errorf("%q", err)
		}
		w.Cloud.SetConsole(a.Info().Instance.ID, evil)
		w.Cloud.Vanish(a.Info().Instance.ID)
		<-a.Done()
		if err := a.Err(); !texts.IsLine(err.Error()) {
			t.Errorf("%q", err)
		}
		texts.Check(t, w)
		for _, s := range w.OpenSessions() {
			if !texts.IsLine(s.End.Message) {
				t.Errorf("a record has %q", s.End.Message)
			}
		}
	})
}

// configTexts sets each text of a Config. EC2 has fields of its own, which New ignores.
var configTexts = map[string]func(c *berth.Config, text string){
	"Name":           func(c *berth.Config, text string) { c.Name = text },
	"InstanceType":   func(c *berth.Config, text string) { c.InstanceType = text },
	"Sharing.Tenant": func(c *berth.Config, text string) { c.Sharing.Tenant = text },
	"Image":          func(c *berth.Config, text string) { c.Image = text },
	"Egress.Mode":    func(c *berth.Config, text string) { c.Egress.Mode = orchestrator.EgressMode(text) },
	"Egress.Allow": func(c *berth.Config, text string) {
		c.Egress = orchestrator.Egress{Mode: orchestrator.EgressAllowList, Allow: []string{text}}
	},
	"Egress.Remotes":  func(c *berth.Config, text string) { c.Egress.Remotes = []string{text} },
	"Env":             func(c *berth.Config, text string) { c.Env = map[string]string{text: "v"} },
	"Env's values":    func(c *berth.Config, text string) { c.Env = map[string]string{"K": text} },
	"Caches.Name":     func(c *berth.Config, text string) { c.Caches[0].Name = text },
	"Caches.Dir":      func(c *berth.Config, text string) { c.Caches[0].Dir = text },
	"Caches.Files":    func(c *berth.Config, text string) { c.Caches[0].Files = []string{text} },
	"Caches.Fill":     func(c *berth.Config, text string) { c.Caches[0].Fill = []string{text} },
	"KnownHosts":      func(c *berth.Config, text string) { c.KnownHosts = text },
	"Runtime":         func(c *berth.Config, text string) { c.Runtime = text },
	"UsageLabels":     func(c *berth.Config, text string) { c.UsageLabels = []string{text} },
	"CredentialHosts": func(c *berth.Config, text string) { c.CredentialHosts = []string{text} },
	"Credentials": func(c *berth.Config, text string) {
		c.Credentials = func(context.Context, berth.CredentialRequest) (berth.Credential, error) {
			return berth.Credential{Username: text, Password: text}, nil
		}
	},
	"Credentials's error": func(c *berth.Config, text string) {
		c.Credentials = func(context.Context, berth.CredentialRequest) (berth.Credential, error) {
			return berth.Credential{}, errors.New(text)
		}
	},
	"Credentials's panic": func(c *berth.Config, text string) {
		c.Credentials = func(context.Context, berth.CredentialRequest) (berth.Credential, error) { panic(text) }
	},
	"PrepareFor": func(c *berth.Config, text string) {
		c.PrepareFor = func(naming.Repository) orchestrator.Prepare {
			return orchestrator.Prepare{Run: [][]string{{text, text}}}
		}
	},
	"PrepareFor's Files": func(c *berth.Config, text string) {
		c.PrepareFor = func(naming.Repository) orchestrator.Prepare {
			return orchestrator.Prepare{Run: [][]string{{"true"}}, Files: []string{text}}
		}
	},
	"PrepareFor's Dirs": func(c *berth.Config, text string) {
		c.PrepareFor = func(naming.Repository) orchestrator.Prepare {
			return orchestrator.Prepare{Run: [][]string{{"true"}}, Dirs: []string{text}}
		}
	},
	"PrepareFor's panic": func(c *berth.Config, text string) {
		c.PrepareFor = func(naming.Repository) orchestrator.Prepare { panic(text) }
	},
	"OnEnd's error": func(c *berth.Config, text string) {
		c.OnEnd = func(context.Context, *berth.Session, berth.EndReason) error { return errors.New(text) }
	},
	"OnEnd's panic": func(c *berth.Config, text string) {
		c.OnEnd = func(context.Context, *berth.Session, berth.EndReason) error { panic(text) }
	},
	"OnEvent's panic": func(c *berth.Config, text string) {
		c.OnEvent = func(berth.Event) { panic(text) }
	},
	"PricePerHour's panic": func(c *berth.Config, text string) {
		c.PricePerHour = func(pool.Machine) (float64, bool) { panic(text) }
	},
	"RegistryAuth's error": func(c *berth.Config, text string) {
		c.RegistryAuth = func(context.Context, string) (orchestrator.RegistryAuth, error) {
			return orchestrator.RegistryAuth{}, errors.New(text)
		}
	},
	"Dialer's error": func(c *berth.Config, text string) {
		c.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New(text) }
	},
	"ImageFor": func(c *berth.Config, text string) {
		c.ImageFor = func(naming.Repository) string { return text }
	},
	"EgressFor": func(c *berth.Config, text string) {
		c.EgressFor = func(naming.Key) orchestrator.Egress { return orchestrator.Egress{Remotes: []string{text}} }
	},
	"Sharing.Key": func(c *berth.Config, text string) {
		c.Sharing.Key = func(berth.AccessRequest) (string, error) { return text, nil }
	},
	"Sharing.Key's error": func(c *berth.Config, text string) {
		c.Sharing.Key = func(berth.AccessRequest) (string, error) { return "", errors.New(text) }
	},
	"Sharing.Private's panic": func(c *berth.Config, text string) {
		c.Sharing.Private = func(naming.Repository) bool { panic(text) }
	},
	"Authorize's error": func(c *berth.Config, text string) {
		c.Authorize = func(context.Context, berth.AccessRequest) error { return errors.New(text) }
	},
	"Authorize's panic": func(c *berth.Config, text string) {
		c.Authorize = func(context.Context, berth.AccessRequest) error { panic(text) }
	},
	"SSHAgent's error": func(c *berth.Config, text string) {
		c.SSHAgent = func(context.Context, berth.CredentialRequest) (sshagent.Agent, error) { return nil, errors.New(text) }
	},
	"SSHAgent's panic": func(c *berth.Config, text string) {
		c.SSHAgent = func(context.Context, berth.CredentialRequest) (sshagent.Agent, error) { panic(text) }
	},
	"UserLimitsFor's panic": func(c *berth.Config, text string) { c.UserLimitsFor = func(string) berth.UserLimits { panic(text) } },
}

// TestEveryTextOfAConfigIsTried: a new field of text must join configTexts.
func TestEveryTextOfAConfigIsTried(t *testing.T) {
	var walk func(name string, kind reflect.Type)
	walk = func(name string, kind reflect.Type) {
		switch kind.Kind() {
		case reflect.String, reflect.Map:
			if configTexts[name] == nil {
				t.Errorf("Config.%s is not tried", name)
			}
		case reflect.Func:
			tried := false
			for one := range configTexts {
				tried = tried || one == name || strings.HasPrefix(one, name+"'s ")
			}
			if !tried {
				t.Errorf("what Config.%s says is not tried", name)
			}
		case reflect.Slice:
			walk(name, kind.Elem())
		case reflect.Struct:
			for field := range kind.Fields() {
				if field.Name != "EC2" {
					walk(strings.TrimPrefix(name+"."+field.Name, "."), field.Type)
				}
			}
		}
	}
	walk("", reflect.TypeFor[berth.Config]())
}

// TestTextsOfAConfig tries dangerous texts in each field of a Config, and in what its functions return. New refuses the text in one line
// for each fault, or works, and so does a session.
func TestTextsOfAConfig(t *testing.T) {
	for name, set := range configTexts {
		for _, text := range append(slices.Clone(texts.Evil), strings.Repeat("x", 1<<20)) {
			synctest.Test(t, func(t *testing.T) {
				tryConfig(t, fmt.Sprintf("%s %.40q", name, text), func(c *berth.Config) { set(c, text) })
			})
		}
	}
}

// FuzzConfig looks for more such texts.
func FuzzConfig(f *testing.F) {
	for name := range configTexts {
		for _, text := range texts.Evil {
			f.Add(name, text)
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if set := configTexts[name]; set != nil {
			synctest.Test(t, func(t *testing.T) {
				tryConfig(t, fmt.Sprintf("%s %.40q", name, text), func(c *berth.Config) { set(c, text) })
			})
		}
	})
}

func tryConfig(t *testing.T, what string, set func(*berth.Config)) {
	var log world.Log
	events := make(chan berth.Event, 1000)
	cfg := berth.Config{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), OnEvent: func(e berth.Event) { events <- e },
		Caches: []orchestrator.Cache{{Name: "c", Dir: "c", Files: []string{"f"}, Fill: []string{"f"}}},
	}
	set(&cfg)
	p, err := fake.NewProvider(fake.Options{Config: cfg, Instant: true})
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = p.CreateSession(ctx, world.Request("t", world.RepoA))
		if failed := p.Destroy(ctx); failed != nil {
			t.Errorf("%s: %v", what, failed)
		}
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !texts.IsLine(line) || len(line) > 20<<10 || strings.HasPrefix(line, "level=") {
				t.Errorf("%s: the error is %.300q", what, err)
			}
		}
	}
	close(events)
	var all []berth.Event
	for e := range events {
		all = append(all, e)
	}
	texts.CheckEvents(t, all)
	texts.CheckLog(t, log.String())
}
