package agent_test

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// goProxy makes a directory that serves one version of a module, as GOPROXY=file://… has it.
func goProxy(t *testing.T, dir, module string, files map[string]string) {
	t.Helper()
	at := filepath.Join(dir, module, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	files["go.mod"] = "module " + module + "\n\ngo 1.21\n"
	for name, text := range files {
		f, err := w.Create(module + "@v1.0.0/" + name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"list": []byte("v1.0.0\n"), "v1.0.0.info": []byte(`{"Version":"v1.0.0"}`), "v1.0.0.mod": []byte(files["go.mod"]), "v1.0.0.zip": packed.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(at, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoBuildInTheLayoutOfItsImage: GOPATH=/go is writable for all, root has downloaded one module there already, and
// tasks build with that one and with another at the same time.
func TestGoBuildInTheLayoutOfItsImage(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	goroot := strings.TrimSpace(string(out))
	a := agenttest.StartAfter(t, `
		mkdir -p proxy go/bin go/src; chmod 1777 go go/bin go/src
		export GOPATH=$PWD/go PATH=$PWD/go/bin:`+goroot+`/bin:/usr/bin:/bin GOPROXY=file://$PWD/proxy GOSUMDB=off GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
		if test -e image; then mkdir -p go/pkg/mod/cache; cp -r image go/pkg/mod/cache/download; fi`)
	goProxy(t, a.Dir+"/proxy", "example.org/fetched", map[string]string{"a.go": "package fetched\n\nconst Word = \"fetched\"\n"})
	goProxy(t, a.Dir+"/image", "example.org/brought", map[string]string{"a.go": "package brought\n\nconst Word = \"brought\"\n"})
	// The module is part of the image: the agent uses the modules that exist when it starts.
	a.Restart()
	r := startOn(t, a)
	r.git.Commit("small", map[string]string{
		"go.mod": "module example.org/small\n\ngo 1.21\n\nrequire (\n\texample.org/fetched v1.0.0\n\texample.org/brought v1.0.0\n)\n",
		"main.go": "package main\n\nimport (\n\t\"os\"\n\n\t\"example.org/brought\"\n\t\"example.org/fetched\"\n)\n\n" +
			"func main() { os.Stdout.WriteString(fetched.Word + \" \" + brought.Word + \"\\n\") }\n",
	})
	r.fetch(t, agent.Fetch{})
	// Each session compiles Go's own packages for a while, since no session uses another's build cache.
	script, want := "go mod download && go list -deps -f '{{with .Module}}{{.Path}}{{end}}' . | grep .", "example.org/brought\nexample.org/fetched\nexample.org/small\n"
	ids := []string{"one", "two"}
	if soak() {
		script += "; go build -o built . && ./built && go install . && command -v small"
		ids = append(ids, "three", "four")
	}
	for i, id := range ids {
		r.session(t, id, 10001+i)
	}
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			want := want
			if soak() {
				want += "fetched brought\n" + a.Dir + "/sessions/" + id + "/home/go/bin/small\n"
			}
			out, exit := r.run(t, id, "{ "+script+"; } 2>errors || cat errors; grep -v downloading errors")
			if out != want {
				t.Errorf("%s: exit %+v, and it says\n%s\nwant\n%s", id, exit, out, want)
			}
		})
	}
	all.Wait()
	if left, _ := os.ReadDir(a.Dir + "/go/bin"); len(left) > 0 {
		t.Errorf("the image's directory for programs has %v", left)
	}
}
