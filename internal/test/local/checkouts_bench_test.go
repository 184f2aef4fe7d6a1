package local_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/paired"
)

// mounted returns a pool with a container whose checkouts are mounts over a tree, and a checkout that git has written.
func mounted(b *testing.B, history gittest.History) (y *yard, url string, plain *berth.Session) {
	b.Helper()
	y = newYard(b)
	url = y.Git.Create("org/repo", history).URL()
	first, _ := y.create(url)
	waitTree(y.Pool, first)
	if s, _ := y.create(url); !isMounted(b, s) {
		b.Fatal("the checkout is no mount")
	}
	return y, url, first
}

// BenchmarkMountedAttach compares a task that joins a running container, whose checkout of 150 or of 13,000 files is a mount, with "git
// worktree add" through docker exec. Wanted: a ratio of at most 0.08 and 0.03. The end of the task is measured, too.
func BenchmarkMountedAttach(b *testing.B) {
	for _, c := range []struct {
		name    string
		history gittest.History
	}{{"150", gittest.Small()}, {"13000", gittest.Large()}} {
		b.Run(c.name, func(b *testing.B) {
			y, url, _ := mounted(b, c.history)
			id, _ := y.clone(url)
			defer y.removeHand(id)
			var attach, end, byHand time.Duration
			for i := 0; b.Loop(); i++ {
				s, took := y.create(url)
				attach += took
				byHand += y.exec(id, "git", "-C", "/repo.git", "worktree", "add", "--quiet", "--detach", fmt.Sprintf("/work%d", i), "HEAD")
				begin := time.Now()
				y.end(s)
				end += time.Since(begin)
			}
			report(b, attach, byHand, "hand")
			b.ReportMetric(end.Seconds()*1e3/float64(b.N), "ms/end")
		})
	}
}

// BenchmarkMountedStatus compares "git status" in a checkout of 13,000 files that is a mount with that in one whose files git has
// written. Wanted: a ratio of at most 2.
func BenchmarkMountedStatus(b *testing.B) {
	y, url, _ := mounted(b, gittest.Large())
	over, _ := y.create(url)
	plain, _ := y.create(url)
	local.Sh(b, plain, "git clone -q --shared . ~/plain && git -C ~/plain status --porcelain")
	status := func(s *berth.Session, dir string) func() time.Duration {
		return func() time.Duration {
			begin := time.Now()
			if out, err := s.Command(context.Background(), "git", "-C", dir, "status", "--porcelain").CombinedOutput(); err != nil || len(out) > 0 {
				b.Fatalf("%s, %v", out, err)
			}
			return time.Since(begin)
		}
	}
	a, p := status(over, "."), status(plain, local.Sh(b, plain, "echo ~/plain"))
	a()
	p()
	var times paired.Times
	for b.Loop() {
		times.Run(10, a, p)
	}
	times.Report(b, "mounted", "plain")
}

// BenchmarkMountedDisk reports what a further session of 13,000 files takes on the disk, and what the first one's tree does.
func BenchmarkMountedDisk(b *testing.B) {
	y, url, _ := mounted(b, gittest.Large())
	s, _ := y.create(url)
	container := s.Info().Container.ID
	size := func(path string) float64 {
		kib, err := strconv.ParseFloat(y.Inside(container, "du -sk "+path+" | cut -f1"), 64)
		if err != nil {
			b.Fatal(err)
		}
		return kib / 1024
	}
	tree, own := size("/sessions/.trees"), size("/sessions/"+s.ID())
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(tree, "MiB/tree")
	b.ReportMetric(own, "MiB/session")
}
