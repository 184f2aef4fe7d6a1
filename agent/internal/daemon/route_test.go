package daemon

import (
	"maps"
	"slices"
	"testing"
)

func TestMatch(t *testing.T) {
	type values = map[string]string
	for _, c := range []struct {
		route, path string
		values      values // nil = no match
	}{
		{"hello", "/v1/hello", values{}},
		{"hello", "/v1/hello/", nil},
		{"hello", "/v2/hello", nil},
		{"hello", "hello", nil},
		{"sessions/{id}", "/v1/sessions/s-1", values{"id": "s-1"}},
		{"sessions/{id}", "/v1/sessions/a%2Fb", values{"id": "a/b"}},
		{"sessions/{id}", "/v1/sessions/", nil},
		{"sessions/{id}", "/v1/sessions/%zz", nil},
		{"sessions/{id}", "/v1/sessions/s/renew", nil},
		{"commands/{id}/{stream}", "/v1/commands/c/stdout", values{"id": "c", "stream": "stdout"}},
	} {
		got, ok := match(c.route, c.path)
		if ok != (c.values != nil) || !maps.Equal(got, c.values) {
			t.Errorf("match(%q, %q) = %v, %v", c.route, c.path, got, ok)
		}
	}
}

// TestRoutesAreTriedInOrder: a route with a name must not hide one that says the segment.
func TestRoutesAreTriedInOrder(t *testing.T) {
	routes := new(Daemon).routes()
	for i, r := range routes {
		path := "/v1/" + r.path
		first := slices.IndexFunc(routes, func(o route) bool {
			_, ok := match(o.path, path)
			return ok && o.method == r.method
		})
		if first != i {
			t.Errorf("%s %s is answered by %s", r.method, r.path, routes[first].path)
		}
	}
}
