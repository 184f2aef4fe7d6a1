package agent_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/agenttest"
)

func TestKernelObjectsAreRemovedWithTheirSession(t *testing.T) {
	a := agenttest.StartAfter(t, "mkdir -p mqueue; mount -t mqueue none mqueue")
	a.Restart("-shared", a.Dir+"/mqueue")
	r := startOn(t, a)
	r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	for _, s := range []string{"s", "other"} {
		if out, exit := r.run(t, s, helper(t, r, "ipc")+" "+s); exit.Code != 0 {
			t.Fatal(out)
		}
	}
	count := func(uid int) string {
		out, _ := r.run(t, "other", fmt.Sprintf(
			`for kind in shm sem msg; do grep -c '\<%d\>' /proc/sysvipc/$kind; done; find %s/mqueue -uid %d | wc -l`, uid, a.Dir, uid))
		return strings.Join(strings.Fields(out), " ")
	}
	if before := count(10001); before != "1 1 1 1" {
		t.Fatalf("the session has made %q", before)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if left := count(10001); left != "0 0 0 0" {
		t.Errorf("left: %q", left)
	}
	if left := count(10002); left != "1 1 1 1" {
		t.Errorf("the other session has %q", left)
	}
}

func TestATreeDeeperThanAPathIsRemoved(t *testing.T) {
	r := start(t)
	co := r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	tmp := r.agent.Dir + "/tmp"
	for who, dir := range map[string]string{"s": tmp + "/mine", "other": tmp + "/others"} {
		if out, exit := r.run(t, who, "mkdir "+dir+" && "+helper(t, r, "deep")+" "+dir); exit.Code != 0 {
			t.Fatal(out)
		}
	}
	if out, exit := r.run(t, "s", helper(t, r, "deep")+" "+co.Workdir); exit.Code != 0 {
		t.Fatal(out)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(tmp)
	places, _ := os.ReadDir(r.agent.Dir + "/sessions")
	if len(left) != 1 || left[0].Name() != "others" || len(places) != 1 {
		t.Errorf("left: %v, %v", left, places)
	}
	if err := r.CloseSession(testContext(t), "other", 10002); err != nil {
		t.Error(err)
	}
}

func TestLinksAreNotFollowedAndNeighboursKeepTheirFiles(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	tmp, outside := r.agent.Dir+"/tmp", r.agent.Dir+"/outside"
	r.run(t, "other", "umask 0; mkdir "+tmp+"/open; echo theirs >"+tmp+"/theirs; echo theirs >"+tmp+"/open/theirs")
	for _, d := range []string{outside, outside + "/dir"} {
		os.Mkdir(d, 0o777)
		os.Chmod(d, 0o777)
	}
	out, _ := r.run(t, "s", "cd "+tmp+`
		echo mine >`+outside+`/dir/file; echo mine >mine; ln mine open/mine; ln -s /etc/passwd link; ln -s `+outside+` dirlink
		ln -s `+outside+`/dir open/dirlink; ln -s ../theirs open/theirlink; mkdir -p own/sub; echo x >own/sub/x; chmod 000 own/sub
		ln -s open openlink; umask 0; mkdir shared; touch shared/mine`)
	if out != "" {
		t.Fatal(out)
	}
	// Where fs.protected_hardlinks is off, a task could do this itself.
	if err := os.Link(tmp+"/theirs", tmp+"/own/theirs"); err != nil {
		t.Fatal(err)
	}
	r.run(t, "other", "echo theirs >"+tmp+"/shared/theirs")
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	out, _ = r.run(t, "other", "cd "+tmp+"; find . -uid 0 -printf '%P\n' 2>/dev/null | sort; cat theirs open/theirs shared/theirs; find . -uid 10001 2>/dev/null; ls open")
	if want := "\nown\nshared\ntheirs\ntheirs\ntheirs\ntheirs\n"; out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for file, want := range map[string]string{outside + "/dir/file": "mine\n", tmp + "/own/theirs": "theirs\n"} {
		if text, err := os.ReadFile(file); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", file, text, err)
		}
	}
	if left, _ := os.ReadDir(tmp + "/own"); len(left) != 1 {
		t.Errorf("left in own: %v", left)
	}
}

func TestASessionHasNoPowerOverTheAgent(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	if out, _ := r.run(t, "s", helper(t, r, "intrude")+" "+r.agent.Socket); out != "fine\n" {
		t.Error(out)
	}
	if out, _ := r.run(t, "s", "grep -E '^(CapEff|CapPrm|CapAmb|CapInh)' /proc/self/status | cut -f2 | sort -u; sudo -n id 2>/dev/null"); out != "0000000000000000\n" {
		t.Errorf("capabilities: %s", out)
	}
	r.session(t, "still", 10002)
}

func TestASessionHasANameAndAHome(t *testing.T) {
	a := agenttest.StartAfter(t, "for f in passwd group nsswitch.conf; do test -e etc/$f || cp /etc/$f etc; done; mount --bind etc /etc")
	r := startOn(t, a)
	co := r.session(t, "s", 10001)
	home := strings.TrimSuffix(co.Workdir, "small") + "home"
	out, _ := r.run(t, "s", "id -un; id -gn; echo ~berth10001; "+helper(t, r, "whoami"))
	if want := "berth10001\nberth10001\n" + home + "\nberth10001 10001 " + home + "\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if passwd, _ := os.ReadFile(a.Dir + "/etc/passwd"); strings.Contains(string(passwd), "10001") || !strings.Contains(string(passwd), "root:") {
		t.Errorf("afterwards:\n%s", passwd)
	}
}
