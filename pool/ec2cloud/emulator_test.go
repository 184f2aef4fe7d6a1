package ec2cloud_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// emulator changes the requests to a server and its answers, so that the server behaves like another emulator of EC2.
type emulator struct {
	next http.RoundTripper
	// ask changes the parameters of a request. The name of an action includes its service, as in IAM.
	ask func(action string, form url.Values)
	// answer is the whole answer to an action; nil = that of the server.
	answer func(action string, form url.Values) *http.Response
	// tell changes the text of an answer.
	tell func(action, text string) string

	mu    sync.Mutex
	calls map[string]int
}

// emulate puts an emulator between the Cloud and the server.
func (r *rig) emulate(e *emulator) {
	e.next, e.calls = r.server.Client().Transport, make(map[string]int)
	r.opts.AWS.HTTPClient = &http.Client{Transport: e}
}

// RoundTrip implements http.RoundTripper.
func (e *emulator) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	action, form := actionOf(q, string(body))
	e.mu.Lock()
	e.calls[action]++
	e.mu.Unlock()
	if e.answer != nil {
		if a := e.answer(action, form); a != nil {
			a.Request = q
			return a, nil
		}
	}
	q = q.Clone(q.Context())
	if e.ask != nil && form != nil {
		e.ask(action, form)
		body = []byte(form.Encode())
	}
	q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	a, err := e.next.RoundTrip(q)
	if err != nil || e.tell == nil {
		return a, err
	}
	text, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	if err != nil {
		return nil, err
	}
	return replyOf(a.StatusCode, a.Header.Get("Content-Type"), e.tell(action, string(text))), nil
}

// actionOf returns the action of a request. The form is nil for a call of SSM.
func actionOf(q *http.Request, body string) (string, url.Values) {
	if target := q.Header.Get("X-Amz-Target"); target != "" {
		return strings.Replace(target, "AmazonSSM.", "ssm:", 1), nil
	}
	form, _ := url.ParseQuery(body)
	service := "ec2:"
	if form.Get("Version") == "2011-06-15" {
		service = "sts:"
	}
	return service + form.Get("Action"), form
}

func replyOf(status int, kind, text string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// refuses answers some actions with an error.
func refuses(status int, code, message string, actions ...string) *emulator {
	return &emulator{answer: func(action string, _ url.Values) *http.Response {
		if !slices.Contains(actions, action) {
			return nil
		}
		return errorOf(status, code, message)
	}}
}

func errorOf(status int, code, message string) *http.Response {
	return replyOf(status, "text/xml", fmt.Sprintf(
		"<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>x</RequestID></Response>", code, message))
}

// lost answers some actions with a page.
func lost(status int, actions ...string) *emulator {
	return &emulator{answer: func(action string, _ url.Values) *http.Response {
		if !slices.Contains(actions, action) {
			return nil
		}
		return replyOf(status, "text/html", "<!doctype html><html><title>Error</title><body><p>The server cannot serve this.<br></body></html>")
	}}
}

// without omits parameters of an action.
func without(what string, actions ...string) *emulator {
	name := regexp.MustCompile(what)
	return &emulator{ask: func(action string, form url.Values) {
		if len(actions) == 0 || slices.Contains(actions, action) {
			maps.DeleteFunc(form, func(key string, _ []string) bool { return name.MatchString(key) })
		}
	}}
}

// silent omits parts of all answers.
func silent(what string) *emulator {
	part := regexp.MustCompile(what)
	return &emulator{tell: func(_, text string) string { return part.ReplaceAllString(text, "") }}
}
