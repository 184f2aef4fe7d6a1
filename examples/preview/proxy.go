package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/hosttest"
)

// A proxy serves what listens in sessions, each port of each session below a host name of its own: PORT-SESSION.DOMAIN. So a browser keeps
// the cookies, the storage and the service workers of one preview from all others, and from the site of the host application, if DOMAIN
// is not below that site's. Give DOMAIN to the public suffix list, or to previews alone.
//
// Nobody gets in without a cookie that Link has led to. It is for one port of one session, and is never passed on to the task's server.
type proxy struct {
	sessions interface {
		GetSession(ctx context.Context, id string) (*berth.Session, error)
	}
	domain string // with the port, if the browser sees one
	secure bool   // browsers come by https
	key    []byte // signs; the same in all processes
	now    func() time.Time

	forward *httputil.ReverseProxy
}

const (
	cookie    = "berth_preview"
	parameter = "berth_preview" // of a link
)

// newProxy returns a proxy. Close its transport's idle connections at the end.
func newProxy(p *proxy) *proxy {
	p.now = time.Now
	p.forward = &httputil.ReverseProxy{
		Rewrite: rewrite, ModifyResponse: narrow, ErrorHandler: p.explain,
		FlushInterval: -1, // events reach the browser at once
		Transport: &http.Transport{
			DialContext: p.dial, MaxIdleConnsPerHost: 8,
			IdleConnTimeout: 15 * time.Second, // an open connection keeps its session alive
		},
	}
	return p
}

// dial connects with a server in a session. addr is the session's ID and the port.
func (p *proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	id, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s, err := p.sessions.GetSession(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.Dial(ctx, network, net.JoinHostPort("localhost", port))
}

// place is a port of a session.
type place struct {
	session string
	port    uint16
}

func (l place) String() string { return fmt.Sprintf("%d-%s", l.port, l.session) }

// placeOf returns the place that a host name names.
func (p *proxy) placeOf(host string) (l place, ok bool) {
	name, ok := strings.CutSuffix(strings.ToLower(host), "."+p.domain)
	if !ok {
		return place{}, false
	}
	text, session, ok := strings.Cut(name, "-")
	port, err := strconv.ParseUint(text, 10, 16)
	return place{session, uint16(port)}, ok && err == nil && port > 0 && session != "" && !strings.ContainsAny(session, ".:/")
}

// sign returns a signed word that lets its bearer into a place until a time.
func (p *proxy) sign(l place, until time.Time) string {
	end := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, p.key)
	fmt.Fprintf(mac, "berth preview\n%v\n%s", l, end)
	return end + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// admits reports whether a signed word lets its bearer into a place now, and until when.
func (p *proxy) admits(l place, word string) (until time.Time, ok bool) {
	text, _, _ := strings.Cut(word, ".")
	end, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	until = time.Unix(end, 0)
	return until, hmac.Equal([]byte(p.sign(l, until)), []byte(word)) && p.now().Before(until)
}

// Link returns the URL of a port of a session for a user of whom the caller knows that the session is theirs. It lets its bearer in, and so
// is a secret; the page that it leads to is at a URL without the secret.
func (p *proxy) Link(s *berth.Session, port uint16, last time.Duration) string {
	l := place{s.ID(), port}
	scheme := "http"
	if p.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%v.%s/?%s=%s", scheme, l, p.domain, parameter, url.QueryEscape(p.sign(l, p.now().Add(last))))
}

// key of the place in a request's context.
type placeKey struct{}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, ok := p.placeOf(r.Host)
	if !ok {
		http.Error(w, "there is no preview of that name", http.StatusNotFound)
		return
	}
	if word := r.URL.Query().Get(parameter); word != "" {
		p.admit(w, r, l, word)
		return
	}
	given, err := r.Cookie(cookie)
	if err == nil {
		_, ok = p.admits(l, given.Value)
	}
	if err != nil || !ok {
		http.Error(w, "this preview is not yours, or your link has expired: ask for a new one", http.StatusForbidden)
		return
	}
	p.forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), placeKey{}, l)))
}

// admit makes a cookie of a link.
func (p *proxy) admit(w http.ResponseWriter, r *http.Request, l place, word string) {
	until, ok := p.admits(l, word)
	if !ok {
		http.Error(w, "this link has expired: ask for a new one", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: word, Path: "/", Expires: until, HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteLaxMode,
	})
	query := r.URL.Query()
	query.Del(parameter)
	to := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", "/"+strings.TrimLeft(to.String(), "/"))
	w.WriteHeader(http.StatusSeeOther)
}

// rewrite makes a request that the server in the session takes for one of its own machine: development servers refuse other hosts, and
// websockets of other origins.
func rewrite(r *httputil.ProxyRequest) {
	l := r.In.Context().Value(placeKey{}).(place)
	local := "localhost:" + strconv.Itoa(int(l.port))
	r.Out.URL.Scheme, r.Out.URL.Host = "http", net.JoinHostPort(l.session, strconv.Itoa(int(l.port)))
	r.SetXForwarded()
	r.Out.Host = local
	if origin, err := url.Parse(r.In.Header.Get("Origin")); err == nil && origin.Host == r.In.Host {
		r.Out.Header.Set("Origin", "http://"+local)
	}
	r.Out.Header.Del("Cookie")
	for _, c := range r.In.Cookies() {
		if c.Name != cookie {
			r.Out.AddCookie(c)
		}
	}
}

// narrow keeps a task's server from setting cookies of other previews, and that of its own.
func narrow(resp *http.Response) error {
	cookies := resp.Cookies()
	resp.Header.Del("Set-Cookie")
	for _, c := range cookies {
		c.Domain = ""
		if c.Name != cookie {
			resp.Header.Add("Set-Cookie", c.String())
		}
	}
	return nil
}

// explain answers a request that has not reached a server.
func (p *proxy) explain(w http.ResponseWriter, r *http.Request, err error) {
	l := r.Context().Value(placeKey{}).(place)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		http.Error(w, fmt.Sprintf("nothing listens on port %d of this session yet", l.port), http.StatusBadGateway)
	default:
		http.Error(w, err.Error(), hosttest.Status(err))
	}
}
