package localcloud

import "testing"

func TestAddressIsDockerHostFirst(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://10.1.2.3:2376")
	if got := New(Options{}).Address(); got != "tcp://10.1.2.3:2376" {
		t.Errorf("Address() = %s", got)
	}
	if got := New(Options{Address: "unix:///x.sock"}).Address(); got != "unix:///x.sock" {
		t.Errorf("Address() = %s, but another was given", got)
	}
}

func TestAddressIsASocketThatIsThere(t *testing.T) {
	for _, test := range []struct {
		goos, home, runtimeDir, there, want string
	}{
		{"linux", "/home/a", "/run/user/1", "/var/run/docker.sock", "unix:///var/run/docker.sock"},
		{"linux", "/home/a", "/run/user/1", "/run/user/1/docker.sock", "unix:///run/user/1/docker.sock"},
		{"linux", "/home/a", "", "/home/a/.docker/desktop/docker.sock", "unix:///home/a/.docker/desktop/docker.sock"},
		{"darwin", "/Users/a", "", "/Users/a/.docker/run/docker.sock", "unix:///Users/a/.docker/run/docker.sock"},
		{"linux", "", "", "nothing", "unix:///var/run/docker.sock"},
		{"windows", `C:\Users\a`, "", "nothing", "npipe:////./pipe/docker_engine"},
	} {
		got := platformAddress(test.goos, test.home, test.runtimeDir, func(path string) bool { return path == test.there })
		if got != test.want {
			t.Errorf("%s with %s: %s, want %s", test.goos, test.there, got, test.want)
		}
	}
}
