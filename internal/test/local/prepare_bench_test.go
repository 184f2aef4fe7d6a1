package local_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// installScript makes 30,000 files of 10 KiB in 300 directories.
const installScript = `set -e
for i in $(seq 300); do mkdir -p dep/$i; head -c 1048576 /dev/urandom | (cd dep/$i && split -a 3 -b 10486); done`

// BenchmarkPreparedStart compares a task that joins a running container and begins with a prepared workspace, of 30,000 files and
// 300 MB, with the install in a task without. Wanted: a ratio of at most 0.02.
func BenchmarkPreparedStart(b *testing.B) {
	said := make(chan berth.Event, 10)
	y := local.New(b, berth.Config{
		PrepareFor: func(naming.Repository) orchestrator.Prepare {
			return orchestrator.Prepare{Run: [][]string{{"sh", "-c", installScript}}, Files: []string{"none"}}
		},
		OnEvent: func(e berth.Event) {
			if e.Type == berth.EventPrepared {
				said <- e
			}
		},
	})
	url := y.Git.Create("org/repo", gittest.Small()).URL()
	first := y.Create("first", url, "")
	begin := time.Now()
	local.Sh(b, first, installScript)
	install := time.Since(begin)
	select {
	case e := <-said:
		if e.Err != nil {
			b.Fatal(e.Err)
		}
		b.Log(e.Message)
	case <-time.After(10 * time.Minute):
		b.Fatal("nothing was prepared")
	}
	local.Sh(b, first, "rm -rf dep")
	begin = time.Now()
	local.Sh(b, first, installScript) // once more, while nothing is prepared beside it
	install = min(install, time.Since(begin))
	var ready time.Duration
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		s := y.Create(fmt.Sprint("task-", b.N, "-", i), url, "")
		ready += time.Since(begin)
		b.StopTimer()
		if got := local.Sh(b, s, "find dep -type f | wc -l"); i == 0 && got != "30000" {
			b.Fatalf("a task has %s files", got)
		}
		if err := y.TerminateSession(b.Context(), s.ID()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	report(b, ready, install*time.Duration(b.N), "install")
}
