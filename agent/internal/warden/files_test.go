package warden

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestFewFiles: the machine's number of open files is too small if its memory has room for more.
func TestFewFiles(t *testing.T) {
	const memory = 24 << 30
	for most, want := range map[uint64]string{
		memory >> 10 / 10:       "fs.file-max is 2516582, and the machine's memory has room for 128849018 open files", // the kernel's default
		memory/bytesPerFile - 1: "fs.file-max is 128849017",
		memory / bytesPerFile:   "",
		math.MaxInt64:           "", // with systemd
	} {
		err := fewerThan(most, memory)
		if err != nil && (want == "" || !strings.HasPrefix(err.Error(), want)) || err == nil && want != "" {
			t.Errorf("%d: %v, want %q", most, err, want)
		}
	}
	if err := fewFiles(); err != nil && !strings.HasPrefix(err.Error(), "fs.file-max is ") {
		t.Error(err)
	}
}

// TestOpenFilesTakeMemory: the memory of a session bounds its open files, because the kernel charges bytesPerFile at least for each.
func TestOpenFilesTakeMemory(t *testing.T) {
	const processes, each = 4, 12_000
	b := newGround(t).box(t)
	b.open(spec("many", 10001))
	charged := func() (bytes int) {
		for _, name := range []string{"/memory.usage_in_bytes", "/memory.current"} {
			if fmt.Sscan(b.file(roomPrefix+"many"+name), &bytes); bytes > 0 {
				return bytes
			}
		}
		t.Fatal("the memory of the room is not known")
		return 0
	}
	for range processes {
		b.background("many", 10001, fmt.Sprintf(`cd /sessions/many; exec bash -c 'ulimit -n %d; echo begun >> state; until test -e go; do sleep 0.1; done
			for ((i = 20; i < %d; i++)); do eval "exec $i</dev/null" || exit; done; echo opened >> state; sleep 1000'`, each+20, each+20))
	}
	all := func(state string) {
		b.until("all are "+state, func() error {
			if now := b.run("many", 10001, "grep -c "+state+" /sessions/many/state").Output; now != fmt.Sprint(processes) {
				return fmt.Errorf("%q are", now)
			}
			return nil
		})
	}
	all("begun")
	before := charged()
	b.run("many", 10001, "touch /sessions/many/go")
	all("opened")
	const files, noise = processes * each, 1 << 20
	if grown := charged() - before; grown < files*bytesPerFile-noise {
		t.Errorf("%d open files took %d bytes", files, grown)
	} else {
		t.Logf("%d bytes for each", grown/files)
	}
}
