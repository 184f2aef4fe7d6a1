package dashboard

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// pageCache keeps pages as they were made last. Many browsers that look at the same page cost one rendering for each change of
// the pool. It is not used where a page depends on its viewer.
type pageCache struct {
	model *model

	mu  sync.Mutex // protects what follows
	all map[string]*cachedPage
}

type cachedPage struct {
	making  sync.Mutex // held while the page is made: others wait for it
	version uint64
	made    time.Time
	body    []byte
	code    int
}

const (
	mostPages = 128
	pageAge   = 5 * time.Second // relative times on it are wrong by as much
)

func newPageCache(m *model) *pageCache { return &pageCache{model: m, all: map[string]*cachedPage{}} }

// get returns the page of a request, which build makes if need be. build says for how long it has waited for others.
func (c *pageCache) get(r *http.Request, share bool, build func() (body []byte, code int, waited time.Duration, err error)) ([]byte, int, error) {
	templates() // are parsed once, which does not count
	timed := func() ([]byte, int, error) {
		begun := time.Now()
		body, code, waited, err := build()
		c.model.source.rendered(max(time.Since(begun)-waited, 0))
		return body, code, err
	}
	key := r.URL.EscapedPath() + "?" + r.URL.RawQuery
	if !share || len(key) > 1000 {
		return timed()
	}
	if err := c.model.ensure(r.Context()); err != nil {
		return nil, 0, err
	}
	p := c.find(key)
	p.making.Lock()
	defer p.making.Unlock()
	version, _, _ := c.model.now()
	if p.body != nil && p.version == version && time.Since(p.made) < pageAge {
		return p.body, p.code, nil
	}
	body, code, err := timed()
	if err != nil {
		return nil, 0, err
	}
	p.version, p.made, p.body, p.code = version, time.Now(), body, code
	return body, code, nil
}

func (c *pageCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.all)
}

func (c *pageCache) find(key string) *cachedPage {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.all[key]
	if p == nil {
		if len(c.all) >= mostPages {
			clear(c.all)
		}
		p = &cachedPage{}
		c.all[key] = p
	}
	return p
}

func itoa(n int) string { return strconv.Itoa(n) }

// pixels is a number of thousandths, as SVG wants lengths in a view box that is 1000 wide.
func pixels(n int) string { return strconv.Itoa(min(max(n, 0), 1000)) }
