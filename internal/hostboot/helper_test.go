package hostboot_test

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"regexp"
	"testing"

	"github.com/berth-go/berth/internal/hostboot"
)

const launch = "acme-tools-7g2k9qxw4m"

// pool is a pool's client side.
type pool struct {
	ca []byte // PEM
	*hostboot.Clients
}

func newPool(t *testing.T) pool {
	t.Helper()
	cert, key, err := hostboot.NewClientCA("acme")
	if err != nil {
		t.Fatal(err)
	}
	clients, err := hostboot.NewClients(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pool{cert, clients}
}

// boot calls Boot for a launch, with the options that every call needs.
func (p pool) boot(t *testing.T, launch string, o hostboot.Options) (userData []byte, trust string) {
	t.Helper()
	o.LaunchID, o.Pool, o.ClientCA = launch, "acme", p.ca
	o.DiskGiB = cmp.Or(o.DiskGiB, 1) // not most of this computer's disk
	userData, trust, err := hostboot.Boot(o)
	if err != nil {
		t.Fatal(err)
	}
	return userData, trust
}

var hereDocument = regexp.MustCompile(`(?ms)^put (\d{4}) (\S+) <<'(\S+)'\n(.*?)^END-OF-BERTH-FILE$`)

// A bootFile is a file that the user data writes.
type bootFile struct{ mode, text string }

// filesOf reads the files from the user data.
func filesOf(userData []byte) map[string]bootFile {
	found := make(map[string]bootFile)
	for _, m := range hereDocument.FindAllStringSubmatch(string(userData), -1) {
		found[m[2]] = bootFile{m[1], m[4]}
	}
	return found
}

// random returns about n bytes of a script that does nothing and hardly gets shorter when it is compressed.
func random(n int) string {
	b := make([]byte, n*3/4)
	rand.Read(b)
	return ": " + base64.StdEncoding.EncodeToString(b) + "\n"
}
