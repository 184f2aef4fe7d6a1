package ec2world

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth/store"
)

// Site is one call of a process, to AWS or to Update of the store.
type Site struct {
	Sort string
	N    int // it is the Nth call of its sort, from 1
}

// ReadsOnly says that the call changes nothing.
func (s Site) ReadsOnly() bool {
	return strings.HasSuffix(s.Sort, " dry") || strings.HasPrefix(s.Sort, "Describe") || strings.Contains(s.Sort, "Get")
}

// KillPoint says when a process is killed: before a call, or after the call has had its effect and before the process
// gets the answer.
type KillPoint struct {
	Site
	After bool
}

// String implements fmt.Stringer.
func (k KillPoint) String() string {
	if k.After {
		return k.Sort + " " + strconv.Itoa(k.N) + ", after"
	}
	return k.Sort + " " + strconv.Itoa(k.N) + ", before"
}

// CountSorts lists the sorts of some calls, one per line, with the number of calls of each.
func CountSorts(sites []Site) string {
	seen := make(map[string]int)
	var order []string
	for _, s := range sites {
		if seen[s.Sort]++; seen[s.Sort] == 1 {
			order = append(order, s.Sort)
		}
	}
	var b strings.Builder
	for _, s := range order {
		b.WriteString(s + ": " + strconv.Itoa(seen[s]) + "\n")
	}
	return b.String()
}

// call makes a call, unless the process is dead or is killed at this call. undo releases an answer that its caller does not get.
func (p *Process) call(sort string, do func() error, undo func()) error {
	p.mu.Lock()
	p.counts[sort]++
	s := Site{sort, p.counts[sort]}
	p.sites = append(p.sites, s)
	hit := p.at.Site == s
	p.mu.Unlock()
	if hit && !p.at.After {
		p.Kill()
	}
	if p.Dead() {
		return errKilled
	}
	err := do()
	if hit {
		p.Kill()
	}
	if p.Dead() {
		if err == nil {
			undo()
		}
		return errKilled
	}
	return err
}

// processClient is a process's client of AWS.
type processClient struct {
	p    *Process
	http aws.HTTPClient
}

// Do implements aws.HTTPClient.
func (c processClient) Do(r *http.Request) (answer *http.Response, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(context.WithoutCancel(r.Context())) // the end of the context does not take back a request that was sent
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

// processStore is a process's access to the store.
type processStore struct {
	store.Store
	p *Process
}

// View implements store.Store.
func (s processStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.p.Dead() {
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
