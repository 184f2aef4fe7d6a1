package names_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent/internal/names"
)

func TestTakeOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search corp.example\nnameserver 127.0.0.11\n nameserver  fd00::1 \noptions ndots:0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.11:53"), netip.MustParseAddrPort("[fd00::1]:53")}
	var first string
	for range 2 {
		got, err := names.TakeOver(file, netip.MustParseAddr("127.0.0.53"))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
		text, _ := os.ReadFile(file)
		if first == "" {
			first = string(text)
		}
	}
	if first != "# berth asks 127.0.0.11 fd00::1 \nnameserver 127.0.0.53\nsearch corp.example\noptions ndots:0\n" {
		t.Errorf("%q", first)
	}
	if _, err := names.TakeOver(filepath.Join(t.TempDir(), "none"), netip.MustParseAddr("127.0.0.53")); err == nil {
		t.Error("no file, no error")
	}
}
