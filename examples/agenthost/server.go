package main

import (
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/examples/hosttest"
	"github.com/berth-go/berth/work"
)

// app is the backend. It keeps no state but what tokens has read: every process over the same database answers for every task.
type app struct {
	provider *berth.Provider
	metrics  *prometheus.Registry
	tokens   *tokens
	agent    []string // the command; it gets the prompt as its last argument
	log      *slog.Logger
}

// policy is the Content-Security-Policy of every answer: what a task has written cannot become a script of this site.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (a *app) handler() http.Handler {
	api := http.NewServeMux()
	for pattern, do := range map[string]func(*http.Request) (any, error){
		"PUT /api/tasks/{id}":                    a.put,
		"GET /api/tasks":                         a.list,
		"GET /api/tasks/{id}":                    a.get,
		"DELETE /api/tasks/{id}":                 a.end,
		"POST /api/tasks/{id}/cancel":            a.cancel,
		"POST /api/tasks/{id}/input":             a.input,
		"POST /api/tasks/{id}/push":              a.push,
		"PUT /api/tasks/{id}/files/{path...}":    a.writeFile,
		"DELETE /api/tasks/{id}/files/{path...}": a.removeFile,
		"GET /api/{$}":                           func(*http.Request) (any, error) { return map[string]string{"pool": a.provider.Console().Pool()}, nil },
	} {
		api.HandleFunc(pattern, answer(do))
	}
	api.HandleFunc("GET /api/tasks/{id}/output", a.output)
	api.HandleFunc("GET /api/tasks/{id}/files/{path...}", a.readFile)
	api.HandleFunc("GET /api/tasks/{id}/diff", a.diff)
	api.HandleFunc("GET /api/tasks/{id}/terminal", a.terminal)
	api.Handle("GET /metrics", onlyAdmin(promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{})))

	site := http.NewServeMux()
	site.HandleFunc("GET /{$}", a.index)
	site.HandleFunc("GET /tasks/{id}/terminal", a.page("terminal.html"))
	site.Handle("/dashboard/", http.StripPrefix("/dashboard", dashboard.Handler(a.provider, dashboard.Options{
		Visible: seen, Authorize: mayEnd,
	})))

	unknown := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "there is no such token", http.StatusUnauthorized)
	}
	toLogin := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusSeeOther) }
	all := http.NewServeMux()
	all.Handle("/", a.signedIn(site, toLogin))
	all.Handle("/api/", a.signedIn(api, unknown))
	all.Handle("/metrics", a.signedIn(api, unknown))
	all.HandleFunc("GET /healthz", a.health)
	all.HandleFunc("GET /login", a.page("login.html"))
	all.HandleFunc("POST /login", a.login)
	all.HandleFunc("POST /logout", a.logout)
	all.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	all.Handle("GET /assets/", http.StripPrefix("/assets", http.FileServerFS(assets)))
	return headers(http.NewCrossOriginProtection().Handler(all))
}

// headers sets what every answer has.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func onlyAdmin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !userOf(r).Admin {
			http.Error(w, "only an administrator may see that", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// seen is what a user sees in the dashboard.
func seen(r *http.Request) func(dashboard.Task) bool {
	u := userOf(r)
	if u.Admin {
		return nil
	}
	return func(t dashboard.Task) bool { return t.UserID == u.Name }
}

// mayEnd lets users end their own tasks in the dashboard, and administrators do all that can be done there.
func mayEnd(r *http.Request, action dashboard.Action) error {
	u := userOf(r)
	if u.Admin || action.Verb == dashboard.EndTask && action.Task.UserID == u.Name {
		return nil
	}
	return errors.New("only an administrator may do that")
}

func (a *app) health(w http.ResponseWriter, r *http.Request) {
	text := "ok"
	if err := a.provider.Health(r.Context()); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = err.Error()
	}
	_, _ = w.Write([]byte(text + "\n"))
}

var (
	errNoAgent    = errors.New("the task has no agent")
	errNotRunning = errors.New("the agent has ended")
)

// answer makes a handler of a function that returns JSON, nil, or an error.
func answer(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		value, err := do(r)
		switch {
		case err != nil:
			refuse(w, err)
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(value) // the client has left
		}
	}
}

// maxBody bounds what a request may hold, in bytes.
const maxBody = 64 << 20

// refuse sends an error as its status and text. The messages of berth and git hold no credential.
func refuse(w http.ResponseWriter, err error) {
	code := status(err)
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	http.Error(w, strings.TrimSpace(err.Error()), code)
}

// status returns the HTTP status of an error. hosttest.Status knows those of berth.
func status(err error) int {
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, ofGit := errors.AsType[*agent.GitError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoAgent), errors.Is(err, agent.ErrUnknownCommand):
		return http.StatusNotFound
	case errors.Is(err, errNotRunning):
		return http.StatusConflict
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case ofGit, errors.Is(err, work.ErrRejected), errors.Is(err, work.ErrIncomplete):
		return http.StatusUnprocessableEntity
	case errors.Is(err, fs.ErrInvalid):
		return http.StatusBadRequest
	case tooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return hosttest.Status(err)
}

//go:embed web
var web embed.FS

var (
	assets, _ = fs.Sub(web, "web")
	pages     = template.Must(template.ParseFS(web, "web/*.html"))
)

// page serves a page that needs to know its task alone.
func (a *app) page(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { a.render(w, name, r.PathValue("id")) }
}

func (a *app) render(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		a.log.Error("writing a page", "page", name, "error", err)
	}
}

// index is the first page: the tasks of the user.
func (a *app) index(w http.ResponseWriter, r *http.Request) {
	tasks, err := a.tasksOf(r)
	if err != nil {
		refuse(w, err)
		return
	}
	a.render(w, "index.html", map[string]any{"User": userOf(r).Name, "Tasks": tasks})
}

// login keeps a token in a cookie.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	token := strings.TrimSpace(r.PostFormValue("token"))
	if _, ok, err := a.tokens.find(token); !ok || err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		a.render(w, "login.html", "There is no such token.")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: token, Path: "/", MaxAge: 30 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
