package hostboot_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/hostboottest"
)

// metadata is a metadata service that takes tokens as IMDSv2 does.
type metadata struct {
	mu      sync.Mutex // protects what follows
	answers map[string]string
	asked   int // how often somebody asked for a notice with a token
	without int // and without
}

func (d *metadata) set(path, answer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers["/latest/meta-data/"+path] = answer
}

func (d *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch answer, ok := d.answers[r.URL.Path]; {
	case r.URL.Path == "/latest/api/token":
		if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, "the-token")
	case r.Header.Get("X-aws-ec2-metadata-token") != "the-token":
		d.without++
		w.WriteHeader(http.StatusUnauthorized)
	case !ok:
		d.asked++
		w.WriteHeader(http.StatusNotFound)
	default:
		d.asked++
		fmt.Fprint(w, answer)
	}
}

// serve serves the requests of a machine.
func (d *metadata) serve(t *testing.T, address string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	return "http://" + l.Addr().String()
}

// testNotices runs the program that shows notices, against a metadata service that has some.
func testNotices(t *testing.T, m *hostboottest.Machine, docker *client.Client) {
	d := &metadata{answers: make(map[string]string)}
	env := []string{"BERTH_IMDS=" + d.serve(t, m.Outside()), "BERTH_NOTICE_EVERY=0.1"}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(t.Context(), "set -a; . /etc/berth/env; echo $$ >/run/notice.pid; exec berth-notice >/run/notice.log 2>&1", env...)
	}()
	defer func() {
		if out, err := m.Run(t.Context(), "kill $(cat /run/notice.pid)"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		<-ended
	}()
	notices := func() (found []string) {
		list, err := docker.VolumeList(t.Context(), client.VolumeListOptions{
			Filters: make(client.Filters).Add("label", "berth.kind=notice").Add("label", "berth.pool=acme").Add("label", "berth.launch="+launch),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list.Items {
			found = append(found, v.Labels[hostboot.LabelNotice]+" "+v.Labels[hostboot.LabelNoticeAt])
		}
		slices.Sort(found)
		return found
	}
	asked := func(times int) func() bool {
		return func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.asked >= times
		}
	}
	eventually(t, "it asks", asked(4))
	if got := notices(); len(got) != 0 {
		t.Errorf("there is no notice, and it tells of %v", got)
	}
	d.set("events/recommendations/rebalance", `{"noticeTime":"2026-11-23T08:00:00Z"}`)
	want := []string{hostboot.NoticeRebalance + " 2026-11-23T08:00:00Z"}
	eventually(t, "it tells of the advice", func() bool { return slices.Equal(notices(), want) })
	d.set("spot/instance-action", `{"action": "terminate", "time": "2026-11-23T08:22:00Z"}`)
	want = []string{hostboot.NoticeInterrupted + " 2026-11-23T08:22:00Z", want[0]}
	eventually(t, "it tells of the interruption", func() bool { return slices.Equal(notices(), want) })
	eventually(t, "it says both", func() bool {
		out, err := m.Run(t.Context(), "cat /run/notice.log")
		return err == nil && strings.Count(out, "EC2 says") == 2
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.without > 0 {
		t.Errorf("it asked %d times without a token", d.without)
	}
}

// testDeadMan runs the switch as its timer would.
func testDeadMan(t *testing.T, m *hostboottest.Machine, docker *client.Client) {
	look := func(limit string) (poweroff bool) {
		t.Helper()
		before := len(m.Calls())
		if out, err := m.Run(t.Context(), "berth-dead-man", "BERTH_DEAD_MAN="+limit, "BERTH_PATIENCE=1"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return slices.Contains(m.Calls()[before:], "systemctl poweroff")
	}
	touch := func() {
		t.Helper()
		for range 2 { // a manager does not look whether it is there
			if _, err := docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: hostboot.TouchVolume}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if look("100000000") {
		t.Error("it powers off at once")
	}
	if !look("0") {
		t.Error("nobody has ever touched it, and it stays")
	}
	touch()
	if look("0") {
		t.Error("somebody has touched it, and it powers off")
	}
	if list, err := docker.VolumeList(t.Context(), client.VolumeListOptions{Filters: make(client.Filters).Add("name", hostboot.TouchVolume)}); err != nil || len(list.Items) != 0 {
		t.Errorf("the touch is not taken away: %v, %v", list.Items, err)
	}
	if text, err := os.ReadFile(m.Path("/run/berth/touched")); err != nil || len(strings.TrimSpace(string(text))) == 0 {
		t.Errorf("the touch is not noted: %q, %v", text, err)
	}
	if look("3600") {
		t.Error("a touch is forgotten")
	}
	// An engine that does not answer does not keep a machine running.
	if out, err := m.Run(t.Context(), "kill -STOP $(cat /run/docker.pid)"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer m.Run(t.Context(), "kill -CONT $(cat /run/docker.pid)")
	if !look("0") {
		t.Error("the engine hangs, and the machine stays")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 5 minutes it does not hold that %s", what)
		}
	}
}
