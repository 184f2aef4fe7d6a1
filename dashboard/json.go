package dashboard

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-go/berth"
)

// json serves the data of a page. Texts in it are as they are, in full: their reader must escape them.
func (s *server) json(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		most := rowsOfPage
		if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && n > 0 {
			most = min(n, mostOfJSON)
		}
		data, _, _, err := s.gather(p, s.asked(r, most))
		switch {
		case err != nil:
			writeJSON(w, statusOf(err), map[string]string{"error": err.Error()})
		case data == nil:
			writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no such " + p.name})
		default:
			writeJSON(w, http.StatusOK, data)
		}
	}
}

// apiIndex serves the state of the pool as a whole, and the paths of the rest.
func (s *server) apiIndex(w http.ResponseWriter, r *http.Request) {
	v := s.asked(r, 1)
	if err := s.model.ensure(v.ctx); err != nil {
		writeJSON(w, statusOf(err), map[string]string{"error": err.Error()})
		return
	}
	answer := struct {
		status
		Paths []string `json:"paths"`
	}{Paths: []string{"repositories", "repository?name=", "tasks", "tasks/{session}", "instances", "queue", "events", "usage"}}
	s.model.look(func(state *state) { answer.status = s.model.status(scope{state, v.sees}, time.Now()) })
	writeJSON(w, http.StatusOK, answer)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// statusOf is the status for an error of reading.
func statusOf(err error) int {
	if errors.Is(err, berth.ErrUnavailable) || errors.Is(err, berth.ErrClosed) || errors.Is(err, errForgotten) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
