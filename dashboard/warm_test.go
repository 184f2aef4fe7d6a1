package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/store"
)

const ofAlpha = "?name=git.example%2Fteam%2Falpha"

// warmUntil waits until the container of the first repository is asked to be warm, or is not.
func (s *site) warmUntil(is func(until time.Time) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var until time.Time
		err := s.store.View(context.Background(), func(v store.View) error {
			all, err := v.Containers(store.ContainerQuery{})
			for _, c := range all {
				if c.SharingKey.Repository.String() == "git.example/team/alpha" {
					until = c.WarmUntil
				}
			}
			return err
		})
		if err == nil && is(until) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the container is warm until %v, %v", until, err)
		}
	}
}

func TestKeepWarm(t *testing.T) {
	var asked []dashboard.Action
	s := open(t, berth.Config{Warm: berth.Warm{Containers: 2}}, dashboard.Options{
		Visible: mine,
		Authorize: func(r *http.Request, a dashboard.Action) error {
			asked = append(asked, a)
			if r.Header.Get("User") != "ann" {
				return errors.New("only ann may")
			}
			return nil
		},
	})
	session := s.create("task-1", "ann", repoA)
	s.create("task-2", "bob", repoA)
	contains(t, "the repository", s.get("repository"+ofAlpha, user("ann")), "repository/warm?name=git.example%2Fteam%2Falpha", "repository/cool?name=")
	contains(t, "the question", s.get("repository/warm"+ofAlpha, user("ann")), "Keep this repository warm?", "git.example/team/alpha", `name="hours"`)
	form := url.Values{"name": {"git.example/team/alpha"}, "hours": {"5"}}
	post := func(path string, form url.Values, code int, change ...func(*http.Request)) {
		t.Helper()
		if resp, body := s.post(path, form, change...); resp.StatusCode != code {
			t.Errorf("POST %s: %s\n%s", path, resp.Status, body)
		}
	}
	post("repository/warm", form, http.StatusForbidden, user("bob"))
	post("repository/warm", form, http.StatusNotFound, user("cleo")) // sees no task of it
	post("repository/warm", form, http.StatusForbidden, user("ann"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	for _, hours := range []string{"", "0", "-1", "721", "x"} {
		post("repository/warm", url.Values{"name": form["name"], "hours": {hours}}, http.StatusNotFound, user("ann"))
	}
	s.warmUntil(time.Time.IsZero)
	post("repository/warm", form, http.StatusSeeOther, user("ann"))
	last := asked[len(asked)-1]
	if last.Verb != dashboard.KeepWarm || last.Repository.String() != "git.example/team/alpha" || last.For != 5*time.Hour || last.Instance != "" {
		t.Errorf("Authorize was asked %+v", last)
	}
	s.warmUntil(func(until time.Time) bool {
		left := time.Until(until)
		return left > 4*time.Hour && left <= 5*time.Hour
	})
	if err := s.TerminateSession(t.Context(), session.ID()); err != nil {
		t.Fatal(err)
	}
	post("repository/cool", url.Values{"name": form["name"]}, http.StatusNotFound, user("cleo"))
	post("repository/cool", url.Values{"name": form["name"]}, http.StatusSeeOther, user("admin"), func(r *http.Request) { r.Header.Set("User", "ann") })
	s.create("task-3", "ann", repoA)
	post("repository/cool", url.Values{"name": form["name"]}, http.StatusSeeOther, user("ann"))
	s.warmUntil(func(until time.Time) bool { return time.Until(until) < time.Hour })
}

// TestKeepWarmWithoutABudget: the viewer is told why it cannot be.
func TestKeepWarmWithoutABudget(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{Authorize: allowAll})
	s.create("task-1", "ann", repoA)
	resp, body := s.post("repository/warm", url.Values{"name": {"git.example/team/alpha"}, "hours": {"5"}})
	if resp.StatusCode != http.StatusConflict || !strings.Contains(body, "Config.Warm") {
		t.Errorf("%s\n%s", resp.Status, body)
	}
}

func browseWarmth(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{Warm: berth.Warm{Containers: 2}}, dashboard.Options{Authorize: allowAll})
	s.create("task-1", "ann", repoA)
	b := newTab(t, browser, s)
	b.open("repository" + ofAlpha)
	b.click("Keep warm")
	b.run(chromedp.SendKeys(chromedp.CSS("input[name=hours]"), "\b24"))
	b.click("Keep it warm")
	b.until(`document.querySelector("h1").textContent.includes("alpha")`)
	s.warmUntil(func(until time.Time) bool { left := time.Until(until); return left > 23*time.Hour })
	b.click("Stop keeping warm")
	b.click("Keep it warm no longer")
	b.until(`document.querySelector("h1").textContent.includes("alpha")`)
	s.warmUntil(func(until time.Time) bool { return time.Until(until) < time.Hour })
}
