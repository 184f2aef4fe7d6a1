package room

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// pair returns the two ends of a control socket.
func pair(t *testing.T) (*conn, *conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*conn
	for i, fd := range fds {
		if ends[i], err = newConn(os.NewFile(uintptr(fd), "control")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

// TestMessagesOfAnySizeArriveWhole, from many writers, each with its files.
func TestMessagesOfAnySizeArriveWhole(t *testing.T) {
	agent, init := pair(t)
	sizes := []int{0, 1, packetSize - 2, packetSize, 3 * packetSize, 1 << 20}
	var writers sync.WaitGroup
	for i, size := range sizes {
		writers.Go(func() {
			r, w, err := os.Pipe()
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			w.Write([]byte{byte(i)})
			w.Close()
			fd := int(r.Fd())
			if err := agent.write(order{Start: &start{Seq: uint64(i), Path: strings.Repeat(string(rune(i)), size), Args: []string{"a\x00\xff", ""}}}, fd, fd, fd); err != nil {
				t.Error(err)
			}
		})
	}
	for range sizes {
		var o order
		files, err := init.read(&o)
		if err != nil || len(files) != streams {
			t.Fatalf("%d files, %v", len(files), err)
		}
		i := o.Start.Seq
		mark := make([]byte, 1)
		if n, err := syscall.Read(files[2], mark); n != 1 || uint64(mark[0]) != i {
			t.Errorf("message %d has the files of message %d (%v)", i, mark[0], err)
		}
		closeAll(files)
		if want := strings.Repeat(string(rune(i)), sizes[i]); o.Start.Path != want || !slices.Equal(o.Start.Args, []string{"a\x00\xff", ""}) {
			t.Errorf("message %d has %d bytes, want %d; arguments %q", i, len(o.Start.Path), len(want), o.Start.Args)
		}
	}
	writers.Wait()
	agent.Close()
	if _, err := init.read(new(order)); !errors.Is(err, io.EOF) {
		t.Errorf("after the other end was closed: %v", err)
	}
}

// TestAMessageThatIsWrongIsAnError and closes the files that came with it.
func TestAMessageThatIsWrongIsAnError(t *testing.T) {
	for name, packet := range map[string][]byte{
		"no order":         append([]byte{last}, "nonsense"...),
		"half a greeting":  append([]byte{last}, `g{"max_files":`...),
		"half a start":     {last, isStart, 1, 2},
		"a long argument":  {last, isStart, 1, 2, 3, 0, 1, 0, 0, 0, 200, 'a'},
		"many arguments":   {last, isStart, 1, 2, 3, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0},
		"too much at last": {last, isStart, 1, 2, 3, 0, 0, 0, 0, 0, 'x'},
		"only a header":    {last},
	} {
		t.Run(name, func(t *testing.T) {
			agent, init := pair(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, _, err := agent.WriteMsgUnix(packet, syscall.UnixRights(int(w.Fd())), nil); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if files, err := init.read(new(order)); err == nil {
				t.Errorf("it was read, with %d files", len(files))
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the file is still open: %d bytes, %v", n, err)
			}
		})
	}
}

// TestSpecIsWhatTheWardenReads holds the names in the messages to the warden.
func TestSpecIsWhatTheWardenReads(t *testing.T) {
	text, err := json.Marshal(Spec{
		ID: "s", UID: 10001, Dir: "/sessions/s", SessionsDir: "/sessions", MirrorDir: "/m", RunDir: "/r",
		Limits: Limits{MemoryBytes: 1, PIDs: 2, CPUWeight: 3, TmpBytes: 4, VarTmpBytes: 5, ShmBytes: 6, Inodes: 7, PTYs: 8},
	})
	const want = `{"id":"s","uid":10001,"dir":"/sessions/s","sessions_dir":"/sessions","mirror_dir":"/m","run_dir":"/r","limits":` +
		`{"memory_bytes":1,"pids":2,"cpu_weight":3,"tmp_bytes":4,"var_tmp_bytes":5,"shm_bytes":6,"inodes":7,"ptys":8}}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
