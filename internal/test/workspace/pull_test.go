package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
)

// engine starts something that answers a pull as handle does.
func engine(t *testing.T, handle func(w http.ResponseWriter, req *http.Request)) *client.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(handle))
	t.Cleanup(server.Close)
	docker, err := client.New(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithAPIVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	return docker
}

func TestPullShowsEachLayerAndTagsTheImage(t *testing.T) {
	tagged := ""
	docker := engine(t, func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/tag") {
			tagged = req.URL.Query().Get("repo") + ":" + req.URL.Query().Get("tag")
			w.WriteHeader(http.StatusCreated)
			return
		}
		out := json.NewEncoder(w)
		for _, percent := range []int64{1, 2, 55, 56, 100} {
			out.Encode(jsonstream.Message{ID: "abc", Status: "Downloading", Progress: &jsonstream.Progress{Current: percent, Total: 100}})
		}
		out.Encode(jsonstream.Message{ID: "abc", Status: "Pull complete"})
	})
	var lines []string
	if err := pull(t.Context(), docker, func(line string) { lines = append(lines, line) }); err != nil {
		t.Fatal(err)
	}
	want := []string{"layer abc: downloading 1 %", "layer abc: downloading 55 %", "layer abc: downloading 100 %", "layer abc: pull complete"}
	if !slices.Equal(lines, want) {
		t.Errorf("progress is %q, want %q", lines, want)
	}
	if !strings.HasSuffix(tagged, Image) {
		t.Errorf("the image was tagged as %q, want %q", tagged, Image)
	}
}

func TestPullReportsTheRegistrysError(t *testing.T) {
	docker := engine(t, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(jsonstream.Message{Error: &jsonstream.Error{Code: 429, Message: "toomanyrequests"}})
	})
	if err := pull(t.Context(), docker, func(string) {}); err == nil || !strings.Contains(err.Error(), "toomanyrequests") {
		t.Errorf("pull gives %v", err)
	}
}

// stuck is an engine whose registry never answers: bodies block until the request's context ends.
type stuck struct{}

func (stuck) RoundTrip(req *http.Request) (*http.Response, error) {
	r, w := io.Pipe()
	context.AfterFunc(req.Context(), func() { w.CloseWithError(req.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, Body: r, Header: http.Header{}, Request: req}, nil
}

func TestPullGivesUpOnASilentRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docker, err := client.New(client.WithHTTPClient(&http.Client{Transport: stuck{}}), client.WithAPIVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err = pull(t.Context(), docker, func(string) {})
		if !errors.Is(err, errRegistrySilent) {
			t.Errorf("pull gives %v, want %v", err, errRegistrySilent)
		}
		if took := time.Since(begin); took != pullAnswer {
			t.Errorf("pull gave up after %v, want %v", took, pullAnswer)
		}
	})
}
