package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed assets templates
var files embed.FS

// assetTypes are the files that pages load, with their types.
var assetTypes = map[string]string{
	"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}

// stamp changes with the assets, so that browsers may keep them for long.
var stamp = sync.OnceValue(func() string {
	h := sha256.New()
	for _, name := range []string{"app.css", "app.js", "icon.svg"} {
		content, _ := files.ReadFile("assets/" + name) // a missing one shows in the tests
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
})

// asset serves an embedded file.
func (s *server) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, err := files.ReadFile(path.Join("assets", name))
	if assetTypes[name] == "" || err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assetTypes[name])
	if r.URL.Query().Get("v") == stamp() {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

var funcs = template.FuncMap{
	"cell": func(s string) template.HTML { return cell(cellText, s) }, "cellN": cell, "whole": whole, "short": func(s seconds) string {
		if s == 0 {
			return "–"
		}
		return short(time.Duration(s))
	},
	"moment": moment, "href": href, "plural": plural, "bytes": bytesText, "money": money, "percent": percent,
	"state": func(s string) template.HTML {
		return template.HTML(`<span class="state" data-state="` + template.HTMLEscapeString(s) + `">` + template.HTMLEscapeString(line(s, 40)) + `</span>`)
	},
	"stamp": stamp, "taskStates": func() []string { return taskStates }, "instanceStates": func() []string { return instanceStates },
	"usageHours": func() []int { return usageHours }, "add": func(a, b int) int { return a + b },
	"float": func(n int) float64 { return float64(n) }, "isZero": func(t time.Time) bool { return t.IsZero() },
	"thousandth": func(n int) string { return pixels(n) },
	"line":       func(q query, name string) string { return line(q.Get(name), wholeText) }, "neg": func(n int) int { return -n },
	"title": func(task, user string) string {
		shown, _ := cut(line(task, titleText), 40)
		by, _ := cut(line(user, titleText), 30)
		return shown + " of " + by
	},
	"capital": func(s string) string { return strings.ToUpper(s[:1]) + s[1:] }, "linkTo": linkTo, "float64s": func(s seconds) float64 { return float64(s) },
	"dict": func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	},
}

// templates are the pages, each with the layout, by name.
var templates = sync.OnceValue(func() map[string]*template.Template {
	layout := template.Must(template.New("pages").Funcs(funcs).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"repositories", "repository", "tasks", "task", "instances", "queue", "events", "usage", "confirm", "error"} {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return all
})

// shown is what a template gets.
type shown struct {
	Title  string // of the page
	Site   string
	Nav    string
	Base   string // relative URL of the prefix
	Path   string // of the page, relative to the prefix, without parameters
	Query  query
	Status status
	View   any
	Now    time.Time
	Live   bool // the page follows the pool
	Again  int  // seconds until the page asks for itself though the pool has not changed; 0 = never
}

// With returns the URL of this page with some parameters changed. It returns to the first part of a list.
func (p *shown) With(changes ...string) string {
	params := []string{}
	for name := range p.Query.Values {
		if name != "page" {
			params = append(params, name, p.Query.Get(name))
		}
	}
	return href(p.Self(), append(params, changes...)...)
}

// Self returns the relative URL of this page, without parameters.
func (p *shown) Self() string { return "./" + p.Path[strings.LastIndexByte(p.Path, '/')+1:] }

// PageURL returns the URL of another part of the list.
func (p *shown) PageURL(n int) string { return p.With("page", itoa(n)) }

// SortURL returns the URL of this page sorted by a column: descending first, then ascending.
func (p *shown) SortURL(column string) string {
	if p.Query.Get("sort") == "-"+column {
		return p.With("sort", column)
	}
	return p.With("sort", "-"+column)
}

// Sorted is the aria-sort of a column; "" = it does not order the rows.
func (p *shown) Sorted(column string) string {
	switch p.Query.Get("sort") {
	case column:
		return "ascending"
	case "-" + column:
		return "descending"
	}
	return ""
}

// render writes a page.
func (s *server) render(name string, p *shown) ([]byte, error) {
	p.Site = s.opts.Title
	var b bytes.Buffer
	b.Grow(64 << 10)
	err := templates()[name].ExecuteTemplate(&b, "layout.html", p)
	return b.Bytes(), err
}

// page serves a page.
func (s *server) page(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, code, err := s.pages.get(r, s.opts.Visible == nil, func() ([]byte, int, time.Duration, error) { return s.makePage(p, r) })
		if err != nil {
			s.fail(w, r, statusOf(err), "This page cannot be shown now", err.Error())
			return
		}
		tag := `"` + hash(body) + `"`
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "private, no-cache")
		w.Header().Set("Vary", "Cookie, Authorization")
		if r.Header.Get("If-None-Match") == tag && code == http.StatusOK {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		writeHTML(w, code, body)
	}
}

func (s *server) makePage(p *page, r *http.Request) (body []byte, code int, waited time.Duration, err error) {
	v := s.asked(r, rowsOfPage)
	data, st, _, err := s.gather(p, v)
	if err != nil {
		return nil, 0, v.waited, err
	}
	sh := &shown{
		Title: p.title, Nav: p.nav, Base: base(r), Path: strings.TrimPrefix(r.URL.EscapedPath(), "/"), Query: v.q, Status: st, View: data,
		Now: v.now, Live: true,
	}
	if t, ok := data.(*taskView); ok && t.Commands != nil {
		sh.Again = askAgain
	}
	name := p.name
	code = http.StatusOK
	if data == nil {
		name, code = "error", http.StatusNotFound
		sh.Title = "There is no such " + p.name
		sh.View = "It may have ended long ago: ended tasks are kept for Config.SessionRetention. Or it is not yours to see."
	}
	body, err = s.render(name, sh)
	return body, code, v.waited, err
}

// fail serves a page that says what went wrong.
func (s *server) fail(w http.ResponseWriter, r *http.Request, code int, title, words string) {
	sh := &shown{Title: title, Base: base(r), View: words, Now: time.Now()}
	sh.Status.Pool = s.console.Pool()
	body, err := s.render("error", sh)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeHTML(w, code, body)
}

func writeHTML(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:12])
}
