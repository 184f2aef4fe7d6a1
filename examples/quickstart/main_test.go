package main

import (
	"os"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

func TestRun(t *testing.T) {
	cfg := berth.Config{Image: testenv.Image(t), Name: testenv.PoolName(t), Egress: gittest.Egress()}
	repo := gittest.NewRepo("acme/shop")
	repo.Commit("main", "Begin", map[string]string{"README.md": "# shop\n"})
	server, err := gittest.Serve(t.Context(), testenv.Docker(t), repo)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := run(t.Context(), cfg, server.URL(repo)); err != nil {
		t.Fatal(err)
	}
}

// TestReadmeShowsThis keeps the README's example equal to the program that is compiled and run here.
func TestReadmeShowsThis(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(program), "package main")
	if !strings.Contains(string(readme), "```go\npackage main"+code+"```\n") {
		t.Error("README.md does not show examples/quickstart/main.go as it is")
	}
}
