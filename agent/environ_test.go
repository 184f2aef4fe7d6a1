package agent_test

import (
	"os"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// startIn starts an agent in an image that a script makes in $PWD, with the environment that it exports.
func startIn(t *testing.T, script string) *ready {
	t.Helper()
	return startOn(t, agenttest.StartAfter(t, script))
}

// TestTwoSessionsUseToolsWhosePlacesTheImageShares: the second session has no access to files that the first one makes there.
func TestTwoSessionsUseToolsWhosePlacesTheImageShares(t *testing.T) {
	r := startIn(t, `
		test -e shared || { mkdir -p shared/go/bin shared/cargo/bin; echo '[net]' >shared/cargo/config.toml; chmod -R 1777 shared; chmod 644 shared/cargo/config.toml; }
		export GOPATH=$PWD/shared/go CARGO_HOME=$PWD/shared/cargo PATH=$PWD/shared/go/bin:$PWD/shared/cargo/bin:$PATH NPM_CONFIG_CACHE=/root/.npm
		export XDG_CACHE_HOME=/root/.cache XDG_CONFIG_HOME=/root/.config XDG_DATA_HOME=/root/.local/share XDG_STATE_HOME=/root/.state XDG_RUNTIME_DIR=/run/user/0
		export BASH_ENV=/root/.bashrc PIP_CACHE_DIR=$PWD/shared/pip`)
	const script = `set -e
		for dir in $GOPATH/pkg/mod/cache $CARGO_HOME/registry $NPM_CONFIG_CACHE/_cacache $PIP_CACHE_DIR $XDG_CACHE_HOME $XDG_CONFIG_HOME/git $XDG_DATA_HOME $XDG_STATE_HOME; do
			case $dir in $HOME/*) ;; *) echo "$dir is not below $HOME" ;; esac
			mkdir -p $dir; echo mine >$dir/file; stat -c %u $dir/file
		done | sort -u
		mkdir -p $GOPATH/bin; printf '#!/bin/sh\necho own tool' >$GOPATH/bin/tool; chmod +x $GOPATH/bin/tool; tool
		cat $CARGO_HOME/config.toml; echo "${XDG_RUNTIME_DIR-none} ${BASH_ENV-none}"; git status -s`
	for i, id := range []string{"one", "two"} {
		r.session(t, id, 10001+i)
	}
	for i, id := range []string{"one", "two"} {
		out, exit := r.run(t, id, script)
		want := []string{"10001", "10002"}[i] + "\nown tool\n[net]\nnone none\n"
		if exit.Code != 0 || out != want {
			t.Errorf("%s: exit %+v, and it says\n%s\nwant\n%s", id, exit, out, want)
		}
	}
	left, _ := os.ReadDir(r.agent.Dir + "/shared/go/bin")
	if len(left) != 0 {
		t.Errorf("the image's directory has %v", left)
	}
}

func TestASessionsOwnVariablesWin(t *testing.T) {
	r := startIn(t, "mkdir -p go; chmod 1777 go; export GOPATH=$PWD/go PATH=$PWD/go/bin:$PATH")
	_, err := r.Open(testContext(t), agent.Session{
		ID: "s", UID: 10001, Dir: "small", URL: r.url, Env: map[string]string{"GOPATH": "/chosen", "PATH": "/usr/bin:/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := r.run(t, "s", "echo $GOPATH $PATH"); out != "/chosen /usr/bin:/bin\n" {
		t.Errorf("it has %q", out)
	}
}

// TestImageVariablesOfGitThatHoldForAFetch: git itself reports where it was led. Proxies have tests of their own.
func TestImageVariablesOfGitThatHoldForAFetch(t *testing.T) {
	r := startIn(t, `
		mkdir -p bin; test -e bin/git || { printf '#!/bin/sh\nenv >>%s/seen\nexec %s "$@"\n' $PWD $(command -v git) >bin/git; chmod 755 bin bin/git; : >seen; chmod 666 seen; }
		export PATH=$PWD/bin:$PATH GIT_SSL_CAINFO=/etc/corp.pem GIT_DIR=/nowhere GIT_TRACE=/nowhere/trace GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=a.b GIT_CONFIG_VALUE_0=c https_proxy=http://image XDG_CONFIG_HOME=/root/.config`)
	r.fetch(t, agent.Fetch{Env: map[string]string{"https_proxy": "http://ann:s3cret@request", "GIT_SSL_VERSION": "tlsv1.2", "GIT_EDITOR": "x", "HOME": "/x"}})
	seen, err := os.ReadFile(r.agent.Dir + "/seen")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GIT_SSL_CAINFO=/etc/corp.pem\n", "https_proxy=http://image\n", "GIT_SSL_VERSION=tlsv1.2\n"} {
		if !strings.Contains(string(seen), want) {
			t.Errorf("git was not told %q", want)
		}
	}
	for _, unwanted := range []string{"GIT_DIR=", "GIT_TRACE=", "GIT_CONFIG_COUNT=", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_EDITOR=", "XDG_CONFIG_HOME=", "HOME=/x"} {
		if strings.Contains(string(seen), "\n"+unwanted) {
			t.Errorf("git was told %q", unwanted)
		}
	}
	r.session(t, "s", 10001)
	if out, _ := r.run(t, "s", "env"); strings.Contains(out, "request") || !strings.Contains(out, "https_proxy=http://image\n") {
		t.Errorf("the session's environment is\n%s", out)
	}
}

// TestAFetchThatFailsForItsProxyFailsNoOther: and does not tell the proxy's password.
func TestAFetchThatFailsForItsProxyFailsNoOther(t *testing.T) {
	t.Parallel()
	r := start(t)
	_, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url, Env: map[string]string{"http_proxy": "http://ann:s3cret@127.0.0.1:1", "no_proxy": ""}}, nil)
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("with a proxy that is not there: %v", err)
	}
	r.fetch(t, agent.Fetch{})
}

// TestASessionCannotPutItsOwnGitBeforeTheImages: the directory for programs of Go's image is writable for all, and the
// first in its PATH.
func TestASessionCannotPutItsOwnGitBeforeTheImages(t *testing.T) {
	r := startIn(t, "mkdir -p go/bin; chmod 1777 go go/bin; export GOPATH=$PWD/go PATH=$PWD/go/bin:$PATH")
	r.session(t, "hostile", 10001)
	out, exit := r.run(t, "hostile", `cd `+r.agent.Dir+`/go/bin; for name in git sh ls; do printf '#!/bin/sh\nenv >>%s/tmp/stolen\nchmod 666 %s/tmp/stolen\n' `+r.agent.Dir+" "+r.agent.Dir+` >$name; chmod 755 $name; done`)
	if exit.Code != 0 {
		t.Fatal(out)
	}
	r.git.Commit("small", map[string]string{"more": "more"})
	r.fetch(t, agent.Fetch{Username: "ann", Password: "s3cret"})
	r.session(t, "other", 10002)
	r.run(t, "other", "git status; ls")
	if stolen, err := os.ReadFile(r.agent.Dir + "/tmp/stolen"); err == nil {
		t.Errorf("the task's program was run with\n%s", stolen)
	}
}
