package dashboard

import (
	"cmp"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
)

// Options configures a Handler. The zero value shows everything, and allows no action.
type Options struct {
	// Title is what the pages are headed with. Default: "berth", and the pool's name if it is another
	Title string
	// Visible narrows what the viewer of a request sees. It returns a function that says of each task whether the viewer sees it;
	// a nil function = all. A viewer who is narrowed sees no trace of other tasks but numbers: the slots that are taken, and
	// how many wait. The bill, which is not kept by task, is hidden from such a viewer. The function is called for each task of
	// the pool, and must not block. nil = every viewer sees everything
	Visible func(*http.Request) func(Task) bool
	// Authorize is asked before something is done, with the request that asks for it. It is also asked before the viewer is asked
	// to confirm. It returns nil to allow it; the viewer sees the text of an error. nil = nothing can be done, and no page offers it
	Authorize func(*http.Request, Action) error
	// ShowArguments shows viewers of a task the arguments of its commands, which may hold secrets. Default: the page of a task, and its
	// JSON, have the names of programs alone
	ShowArguments bool
}

// Task is what Options.Visible decides by.
type Task struct {
	SessionID, TaskID, UserID string
	Repository                naming.Repository
	Branch                    string
	Labels                    map[string]string // not to be changed
}

// Verb says what an Action does.
type Verb string

// The verbs of actions.
const (
	EndTask          Verb = "end task"
	CordonInstance   Verb = "cordon instance"   // no new sessions come to it, until it is uncordoned
	UncordonInstance Verb = "uncordon instance" // sessions come to it again
	DrainInstance    Verb = "drain instance"    // no new sessions come to it, and it ends after its last one
	KeepWarm         Verb = "keep warm"         // a container of the repository is up without sessions, for a time: see Provider.Warm
	StopWarm         Verb = "stop warm"         // takes KeepWarm back: see Provider.Cool
)

// Action is something that a viewer asks for.
type Action struct {
	Verb     Verb
	Task     Task   // of EndTask
	Instance string // the launch ID, of the verbs of instances
	// Repository and For are those of KeepWarm and StopWarm. For is how long KeepWarm lasts; 0 before the viewer has said that, and with
	// StopWarm
	Repository naming.Repository
	For        time.Duration
}

// Handler returns a handler that shows a pool. It is mounted with http.StripPrefix. Its links are relative, so that the prefix may
// be any, also that of a proxy. Only GET, HEAD and POST are served, and a POST from another site is refused.
//
// It starts nothing until it is asked for something, and ends what it has started when the Provider closes.
func Handler(p *berth.Provider, opts Options) http.Handler {
	c := p.Console()
	if opts.Title == "" {
		if opts.Title = "berth"; c.Pool() != opts.Title {
			opts.Title += " " + c.Pool()
		}
	}
	s := &server{p: p, console: c, opts: opts, model: newModel(c), usage: usageCache{p: p}}
	s.live = newLive(s.model)
	s.pages = newPageCache(s.model)
	s.model.forgotten = s.pages.clear
	guard := http.NewCrossOriginProtection()
	return guard.Handler(http.HandlerFunc(s.serve))
}

// server is the state of a Handler.
type server struct {
	p       *berth.Provider
	console berth.Console
	opts    Options
	model   *model
	live    *live
	pages   *pageCache
	usage   usageCache

	once sync.Once
	mux  *http.ServeMux
}

// policy is the Content-Security-Policy of every answer.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	s.once.Do(s.routes)
	if r.URL.Path == "" { // the prefix without a slash: relative links would be one level too high
		path, query, _ := strings.Cut(r.RequestURI, "?")
		to := "./" + path[strings.LastIndexByte(path, '/')+1:] + "/"
		if query != "" {
			to += "?" + query
		}
		h.Set("Location", to)
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// routes makes the mux. Paths have one element for each level below the prefix, see base.
func (s *server) routes() {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /assets/{name}", s.asset)
	for path, p := range pages {
		s.mux.HandleFunc("GET "+path, s.page(p))
		s.mux.HandleFunc("GET /api"+strings.TrimSuffix(cmp.Or(p.api, path), "/{$}"), s.json(p))
	}
	s.mux.HandleFunc("GET /api/{$}", s.apiIndex)
	s.mux.HandleFunc("GET /live", s.stream)
	s.mux.HandleFunc("GET /tasks/{id}/end", s.confirm(EndTask))
	s.mux.HandleFunc("POST /tasks/{id}/end", s.act(EndTask))
	for name, verb := range instanceVerbs {
		s.mux.HandleFunc("GET /instances/{id}/"+name, s.confirm(verb))
		s.mux.HandleFunc("POST /instances/{id}/"+name, s.act(verb))
	}
	for name, verb := range repositoryVerbs {
		s.mux.HandleFunc("GET /repository/"+name, s.confirm(verb))
		s.mux.HandleFunc("POST /repository/"+name, s.act(verb))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "There is no such page",
			"If the dashboard is mounted below a prefix, wrap it in http.StripPrefix, as the package says.")
	})
}

// base returns the relative URL of the prefix, from the page that is asked for.
func base(r *http.Request) string {
	depth := strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if depth == 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// sees returns what the viewer of a request sees; nil = everything.
func (s *server) sees(r *http.Request) func(*task) bool {
	if s.opts.Visible == nil {
		return nil
	}
	visible := s.opts.Visible(r)
	if visible == nil {
		return nil
	}
	return func(t *task) bool { return visible(t.public()) }
}

// public is the task as Options.Visible and Options.Authorize see it.
func (t *task) public() Task {
	return Task{
		SessionID: t.ID, TaskID: t.TaskID, UserID: t.UserID, Repository: t.SharingKey.Repository, Branch: t.branch(), Labels: t.Labels,
	}
}

// writeTimeout bounds the time that one write to a viewer may take, where a stream goes on for long.
const writeTimeout = 10 * time.Second
