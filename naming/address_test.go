package naming_test

import (
	"testing"

	"github.com/berth-go/berth/naming"
)

// TestForbiddenHosts holds that addresses of the surroundings are refused, also
// in disguise.
func TestForbiddenHosts(t *testing.T) {
	for _, remote := range []string{
		"https://169.254.169.254./o/r", "git@169.254.170.2:o/r", "ssh://git@[fe80::1]/o/r", "ssh://git@[::1%25lo]/o/r",
		"https://[fd00:ec2::254]/o/r", "https://[fd00:ec2::23]/o/r", "https://0.0.0.0/o/r", "https://0.1.2.3/o/r", "https://[::]/o/r",
		"https://224.0.0.1/o/r", "https://255.255.255.255/o/r", "https://[ff02::1]/o/r",

		// IPv4 within IPv6.
		"https://[::ffff:169.254.169.254]/o/r", "https://[::ffff:a9fe:a9fe]/o/r", "https://[::169.254.169.254]/o/r", "https://[::ffff:0:169.254.169.254]/o/r",
		"https://[64:ff9b::a9fe:a9fe]/o/r", "https://[64:ff9b:1::a9fe:a9fe]/o/r", "https://[64:ff9b:1:7:8:9:169.254.169.254]/o/r",
		"https://[64:ff9b:1:7:a9:fea9:fe00:0]/o/r", "https://[64:ff9b:1:7a9:fe:a9fe::]/o/r", "https://[64:ff9b:1:a9fe:a9:fe00::]/o/r",
		"https://[2002:a9fe:a9fe::]/o/r", "https://[64:ff9b::e000:1]/o/r", "https://[::ffff:0:100.100.100.200]/o/r", "git@[::ffff:0:a9fe:a9fe]:o/r",

		// Numbers.
		"https://0xA9FEA9FE/o/r", "https://2852039166/o/r", "https://0251.0376.0251.0376/o/r", "https://169.254.43518/o/r", "https://0x7f.1/o/r",

		// Other addresses of clouds.
		"https://100.100.100.200/o/r", "http://168.63.129.16/o/r", "http://192.0.0.192/o/r", "http://[fd20:ce::254]/o/r", "http://[fd00:c1::a9fe:a9fe]/o/r", "http://[fd00:42::42]/o/r",

		// Names.
		"http://instance-data/latest/meta-data", "http://instance-data.ec2.internal/o/r", "https://Instance-Data.eu-west-1.compute.internal./o/r", "ssh://git@instance-data.cn-north-1.compute.internal/o/r",
		"http://metadata/o/r", "git@metadata:o/r", "http://metadata.:80/o/r", "http://metadata.goog/o/r", "http://METADATA.google.internal./o/r",
		"http://169.254.169.254.nip.io/o/r", "http://www.169-254-169-254.sslip.io/o/r", "http://ip-169-254-169-254.eu-west-1.compute.internal/o/r",
	} {
		wantRefused(t, remote)
	}
}

// TestPrivateHosts holds that git servers next to the machine are reached, and
// those whose names or addresses only resemble the ones above.
func TestPrivateHosts(t *testing.T) {
	for remote, want := range map[string]string{
		"https://127.0.0.1:3000/o/r":                 "127.0.0.1:3000/o/r",
		"http://172.17.0.1/o/r":                      "172.17.0.1/o/r",
		"http://100.100.100.201/o/r":                 "100.100.100.201/o/r",
		"https://[fd00:42::43]/o/r":                  "[fd00:42::43]/o/r",
		"https://[::ffff:0:10.0.0.1]/o/r":            "[::ffff:0:a00:1]/o/r",
		"https://[64:ff9b:1::10.0.0.1]/o/r":          "[64:ff9b:1::a00:1]/o/r",
		"https://[64:ff9b:1:0a00:0:100::]/o/r":       "[64:ff9b:1:a00:0:100::]/o/r",
		"https://ip-10-0-0-1.ec2.internal/o/r":       "ip-10-0-0-1.ec2.internal/o/r",
		"https://10.0.0.1.nip.io/o/r":                "10.0.0.1.nip.io/o/r",
		"https://metadata.host.xz/o/r":               "metadata.host.xz/o/r",
		"https://git.metadata.internal/o/r":          "git.metadata.internal/o/r",
		"https://metadata-store.host.internal/o/r":   "metadata-store.host.internal/o/r",
		"https://git.eu-west-1.compute.internal/o/r": "git.eu-west-1.compute.internal/o/r",
		"https://release-169-254.host.xz/o/r":        "release-169-254.host.xz/o/r",
	} {
		wantIdentity(t, remote, want)
	}
}

func TestIsLoopback(t *testing.T) {
	for remote, want := range map[string]bool{
		"http://localhost/o/r": true, "http://LOCALHOST:3000/o/r": true, "git@localhost:o/r": true, "http://git.localhost/r": true,
		"http://127.0.0.1/o/r": true, "http://127.8.0.1:80/o/r": true, "http://[::1]/o/r": true, "ssh://git@[::1]:2222/o/r": true,
		"http://[::ffff:127.0.0.1]/o/r": true,
		"http://10.0.0.1/o/r":           false, "http://localhost.example/o/r": false, "http://[fd00::1]/o/r": false, "https://github.com/o/r": false,
	} {
		repository, err := naming.ParseRepository(remote)
		if err != nil || repository.IsLoopback() != want {
			t.Errorf("%s: %v, %v", remote, repository.IsLoopback(), err)
		}
	}
}
