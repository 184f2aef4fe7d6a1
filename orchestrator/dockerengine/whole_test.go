package dockerengine_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/berth-go/berth/naming"
)

// reply is an answer to a call. The zero value is none: the stub then answers.
type reply struct {
	code int
	body string
}

// wholeEngine is a stub that holds a container c1, its volumes, a network and a helper.
type wholeEngine struct {
	*stub
	attempt atomic.Value // the attempt that has made the last container
}

// whole makes the stub a whole engine, which does everything except running programs. odd may answer some calls, or all of
// them, in the engine's place.
func (s *stub) whole(odd func(call string) (code int, body string, ok bool)) {
	s.containers = []string{"c1"}
	e := &wholeEngine{stub: s}
	e.attempt.Store("")
	s.also = func(w http.ResponseWriter, r *http.Request) bool {
		call := call(r)
		s.count(call)
		code, body, ok := odd(call)
		answer := reply{code, body}
		if !ok {
			if answer = e.held(call, r); answer.code == 0 {
				answer = e.containerCall(call, r, w.Header())
			}
		}
		if answer.code == 0 {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Api-Version", "1.41")
		w.WriteHeader(answer.code)
		io.WriteString(w, answer.body)
		return true
	}
}

var stubKey = naming.Key{Repository: naming.Repository{Host: "example.org", Path: "acme/widgets"}}.String()

// wholeLabels returns the labels of a thing as JSON.
func wholeLabels(kind string) string {
	return fmt.Sprintf(`{"berth.pool":%q,"berth.pool-uid":"one","berth.kind":%q,"berth.key":%q}`, stubPool, kind, stubKey)
}

// held answers calls about volumes, networks and images.
func (e *wholeEngine) held(call string, r *http.Request) reply {
	switch call {
	case "GET /volumes":
		return reply{200, `{"Volumes":[{"Name":"c1","Labels":` + wholeLabels("mirror") + `},{"Name":"c1-work","Labels":` + wholeLabels("work") + `}]}`}
	case "GET /volumes/ID":
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		kind := "mirror"
		if strings.HasSuffix(name, "work") {
			kind = "work"
		}
		if strings.HasPrefix(name, "berth-agent-") {
			kind = "agent"
		}
		labels := strings.Replace(wholeLabels(kind), "{", fmt.Sprintf(`{"berth.attempt":%q,`, e.attempt.Load()), 1)
		return reply{200, fmt.Sprintf(`{"Name":%q,"Labels":%s}`, name, labels)}
	case "GET /networks":
		if e.times("POST /networks/create") == 0 && e.times("first") == 0 {
			return reply{200, `[{"Id":"bridge"}]`}
		}
		return reply{200, `[{"Id":"bridge"},{"Id":"n1","Labels":` + wholeLabels("network") + `}]`}
	case "GET /networks/ID":
		return reply{200, `{"Id":"n1","Labels":` + wholeLabels("network") + `}`}
	case "POST /networks/create":
		return reply{201, `{"Id":"n1"}`}
	case "GET /images/ID/json":
		if strings.Contains(r.URL.Path, "absent") {
			return reply{404, `{"message":"no such image"}`}
		}
		return reply{200, `{"Id":"sha256:1"}`}
	case "POST /images/create":
		return reply{200, `{"status":"Downloading","id":"1","progressDetail":{"current":1,"total":2}}`}
	}
	return reply{}
}

// containerCall answers calls about containers.
func (e *wholeEngine) containerCall(call string, r *http.Request, header http.Header) reply {
	switch call {
	case "GET /containers/json":
		if strings.Contains(r.URL.Query().Get("filters"), "berth.attempt") { // nothing is left of an attempt that failed
			return reply{200, `[]`}
		}
	case "GET /containers/ID/json":
		if strings.Contains(r.URL.Path, "/helper/") {
			return reply{200, `{"Id":"helper","Config":{"Labels":` + wholeLabels("helper") + `},"State":{"Status":"created"}}`}
		}
		if strings.Contains(r.URL.Path, "/c2/") {
			return reply{200, `{"Id":"c2","Name":"/c2","Config":{"Labels":` + wholeLabels("container") + `},"State":{"Status":"exited","ExitCode":7}}`}
		}
		return reply{200, `{"Id":"c1","Name":"/c1","Config":{"Labels":` + wholeLabels("container") + `},"State":{"Running":true,"Status":"running"}}`}
	case "POST /containers/create":
		if r.URL.Query().Get("name") == "c1" {
			return reply{409, `{"message":"the name is in use"}`}
		}
		if r.URL.Query().Get("name") == "" {
			return reply{201, `{"Id":"helper"}`}
		}
		var made struct{ Labels map[string]string }
		json.NewDecoder(r.Body).Decode(&made)
		e.attempt.Store(made.Labels["berth.attempt"])
		return reply{201, `{"Id":"c2"}`}
	case "HEAD /containers/ID/archive":
		if e.times("PUT /containers/ID/archive") == 0 {
			return reply{404, ""}
		}
		header.Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString([]byte(`{"name":"agent","size":5}`)))
		return reply{200, ""}
	case "PUT /containers/ID/archive", "POST /containers/ID/start":
		return reply{200, ""}
	case "POST /containers/ID/exec":
		if strings.Contains(r.URL.Path, "/c2/") {
			return reply{409, `{"message":"it does not run"}`}
		}
	case "GET /containers/ID/logs":
		return reply{200, "\x02\x00\x00\x00\x00\x00\x00\x04fell"}
	}
	return reply{}
}
