package disk

import "testing"

func TestRoom(t *testing.T) {
	r := Room{Bytes: 100, Files: 10, Counted: true, Kept: 20, KeptFiles: 2}
	for _, c := range []struct {
		bytes, files  int64
		holds, spares bool
	}{
		{0, 0, true, true}, {80, 8, true, true}, {81, 8, true, false}, {80, 9, true, false}, {100, 10, true, false}, {101, 1, false, false}, {1, 11, false, false},
	} {
		if h, s := r.Holds(c.bytes, c.files), r.Spares(c.bytes, c.files); h != c.holds || s != c.spares {
			t.Errorf("%d bytes in %d files: %t, %t", c.bytes, c.files, h, s)
		}
	}
	if r.Counted = false; !r.Holds(100, 1000) || !r.Spares(80, 1000) {
		t.Error("inodes count where the file system makes them as it needs them")
	}
	if (Room{Bytes: 10, Kept: 20}).Spares(0, 0) {
		t.Error("a disk that is short has room to spare")
	}
}

func TestOf(t *testing.T) {
	r, err := Of(t.TempDir())
	if err != nil || r.Bytes < 0 || r.Kept <= 0 || r.Kept > mostKept {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Of(t.TempDir() + "/missing"); err == nil {
		t.Error("a missing path has room")
	}
}
