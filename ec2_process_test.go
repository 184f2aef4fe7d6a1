package berth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/store"
)

// process is a process of a host application, with one Provider. Once it is killed, nothing of it reaches AWS, the store
// or an engine.
type process struct {
	*berth.Provider
	a    *account
	name string
	at   killPoint // where it is killed; zero = nowhere

	mu     sync.Mutex // protects what follows
	dead   bool
	counts map[string]int // calls so far, by their sort
	sites  []site         // all calls, in their order
	ending sync.WaitGroup // what is left of it when it was killed
}

// site is a call to AWS or an Update of the store: of a sort, and the how manieth of that.
type site struct {
	sort string
	n    int
}

// readsOnly says that the call changes nothing.
func (s site) readsOnly() bool {
	return strings.HasSuffix(s.sort, " dry") || strings.HasPrefix(s.sort, "Describe") || strings.Contains(s.sort, "Get")
}

// killPoint is where a process is killed: as it makes a call, or when that has had its effect and nobody has told.
type killPoint struct {
	site
	after bool
}

func (k killPoint) String() string {
	if k.after {
		return k.sort + " " + strconv.Itoa(k.n) + ", after"
	}
	return k.sort + " " + strconv.Itoa(k.n) + ", before"
}

var errKilled = errors.New("the process was killed")

// begin starts a process on an account's store. It returns an error if that was killed meanwhile.
func (a *account) begin(name string, at killPoint) (*process, error) {
	p := &process{a: a, name: name, at: at, counts: make(map[string]int)}
	cfg := a.cfg
	sdk := cfg.EC2.AWS.Copy()
	sdk.HTTPClient = processClient{p, a.server.Client()}
	cfg.EC2.AWS, cfg.Store = &sdk, processStore{a.cfg.Store, p}
	cfg.Logger = cfg.Logger.With("process", name)
	a.processes[name] = p
	made, err := berth.NewEC2WithEngine(a.Context(), cfg, a.engine.As(name))
	if err != nil {
		return p, err
	}
	a.Cleanup(func() {
		made.Close()
		p.ending.Wait()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Provider = made
	if p.dead {
		p.ending.Go(func() { made.Close() })
		return p, errKilled
	}
	return p, nil
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// kill ends the process. Its goroutines end soon, and reach nothing.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.dead = true
	if made := p.Provider; made != nil {
		p.ending.Go(func() { made.Close() })
	}
}

// call makes a call, unless the process is dead or is to be killed there. undo gives up an answer that nobody gets.
func (p *process) call(sort string, do func() error, undo func()) error {
	p.mu.Lock()
	p.counts[sort]++
	s := site{sort, p.counts[sort]}
	p.sites = append(p.sites, s)
	hit := p.at.site == s
	p.mu.Unlock()
	if hit && !p.at.after {
		p.kill()
	}
	if p.isDead() {
		return errKilled
	}
	err := do()
	if hit {
		p.kill()
	}
	if p.isDead() {
		if err == nil {
			undo()
		}
		return errKilled
	}
	return err
}

// processClient is how a process reaches AWS.
type processClient struct {
	p    *process
	http aws.HTTPClient
}

// Do implements aws.HTTPClient.
func (c processClient) Do(r *http.Request) (answer *http.Response, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(context.WithoutCancel(r.Context())) // a request that has left is not called back
	r.Body = io.NopCloser(bytes.NewReader(body))
	sort := r.Header.Get("X-Amz-Target")
	if sort == "" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		sort = form.Get("Action")
		if form.Get("DryRun") == "true" {
			sort += " dry"
		}
	}
	err = c.p.call(sort, func() error {
		answer, err = c.http.Do(r)
		return err
	}, func() { answer.Body.Close() })
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// processStore is how a process reaches the store.
type processStore struct {
	store.Store
	p *process
}

// View implements store.Store.
func (s processStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.p.isDead() {
		return errKilled
	}
	return s.Store.View(ctx, fn)
}

// Update implements store.Store.
func (s processStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	sort := "update"
	for i, k := range keys {
		if i == 0 || k.Kind != keys[i-1].Kind {
			sort += " " + k.Kind.String()
		}
	}
	if len(keys) > 0 && keys[0] == store.LeaseKey("planner") {
		sort += " planner"
	}
	return s.p.call(sort, func() error { return s.Store.Update(ctx, keys, fn) }, func() {})
}

// withEngines gives the account's instances engines that answer while they run.
func (a *account) withEngines() {
	a.processes = make(map[string]*process)
	a.engine = fake.NewEngine(fake.EngineOptions{Fault: func(c fake.Call) fake.Fault {
		if p := a.processes[c.Actor]; p != nil && p.isDead() {
			return fake.Fault{Before: errKilled}
		}
		return fake.Fault{}
	}})
	a.Cleanup(func() { a.engine.Close() })
}

// up returns the instances that cost money.
func (a *account) up() (all []ec2test.Instance) {
	for _, i := range a.server.Instances() {
		if i.State != ec2test.Terminated && i.State != ec2test.ShuttingDown {
			all = append(all, i)
		}
	}
	return all
}

// until waits for something that is to come. It gives up when the process is dead.
func (p *process) until(within time.Duration, is func() bool) error {
	for end := time.Now().Add(within); !is(); time.Sleep(100 * time.Millisecond) {
		switch {
		case p.isDead():
			return errKilled
		case time.Now().After(end):
			return errors.New("it did not come within " + within.String())
		}
	}
	return nil
}

// sortsOf counts calls by their sort.
func sortsOf(sites []site) string {
	seen := make(map[string]int)
	var order []string
	for _, s := range sites {
		if seen[s.sort]++; seen[s.sort] == 1 {
			order = append(order, s.sort)
		}
	}
	var b strings.Builder
	for _, s := range order {
		b.WriteString(s + ": " + strconv.Itoa(seen[s]) + "\n")
	}
	return b.String()
}
