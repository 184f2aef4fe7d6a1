package place

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnImageWithAccountsOfOursIsRefused(t *testing.T) {
	const usual = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	for _, c := range []struct{ passwd, group, says string }{
		{usual, "root:x:0:\nnogroup:x:65534:\n", ""},
		{usual + "app:x:1000:1000::/app:/bin/sh\n", "app:x:1000:\n", ""},
		{usual + "app:x:9996:9996::/app:/bin/sh\n", "app:x:60001:\n", ""},
		{usual + "app:x:9997:9997::/app:/bin/sh\n", "", `passwd gives the id 9997 to "app"`},
		{usual + "berth-mirror:x:9999:9999:::\nberth10001:x:10001:10001:::\n", "berth10001:x:10001:\n", ""}, // an earlier life of the container
		{"", "", ""},
		{usual + "app:x:10001:10001::/app:/bin/sh\n", "app:x:10001:\n", `passwd gives the id 10001 to "app"`},
		{usual + "app:x:60000:1::/app:/bin/sh", "", `passwd gives the id 60000 to "app"`},
		{usual, "team:x:20000:app\n", `group gives the id 20000 to "team"`},
		{usual + "app:x:9999:1::/app:/bin/sh\n", "", `passwd gives the id 9999 to "app"`},
		{usual + "app:x:9998:1::/app:/bin/sh\n", "", `passwd gives the id 9998 to "app"`},
		{usual + "berth10001:x:10002:1:::\n", "", `passwd gives the id 10002 to "berth10001"`},
	} {
		etc := t.TempDir()
		for name, text := range map[string]string{"passwd": c.passwd, "group": c.group} {
			if text == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err := checkAccounts(etc)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q and %q: %v; want %q", c.passwd, c.group, err, c.says)
		}
	}
}
