package environ

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestWhyASessionCannotRunAProgram(t *testing.T) {
	root := makeImage(t, map[string]os.FileMode{
		"private/": 0o700, "private/bin/": 0o755, "private/bin/rustc": 0o755, "bin/": 0o755, "bin/mine": 0o700, "bin/plain": 0o644,
		"bin/fine": 0o755, "bin/script": 0o755, "bin/lost": 0o755,
	})
	for file, text := range map[string]string{
		"script": "#!" + root + "/private/bin/rustc -x\n", "lost": "#! " + root + "/bin/none\n",
	} {
		if err := os.WriteFile(root+"/bin/"+file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(root+"/private/bin/rustc", root+"/bin/rustc"); err != nil {
		t.Fatal(err)
	}
	owner := whose(os.Getuid())
	below := fmt.Sprintf("%s/private/bin/rustc lies below %[1]s/private, which only %s may enter", root, owner)
	for file, want := range map[string]string{
		"private/bin/rustc": below,
		"bin/rustc":         below,
		"bin/script":        "it is run by " + root + "/private/bin/rustc: " + below,
		"bin/lost":          "it is run by " + root + "/bin/none, which is not there",
		"bin/mine":          "only " + owner + " may execute " + root + "/bin/mine",
		"bin/plain":         root + "/bin/plain is not marked as executable",
		"bin/fine":          "",
		"bin/none":          "",
	} {
		if got := Obstacle(root+"/"+file, 10001); got != want {
			t.Errorf("%s: %q; want %q", file, got, want)
		}
	}
	if got := Obstacle(root+"/bin/plain", os.Getuid()); !strings.HasSuffix(got, "is not marked as executable") {
		t.Errorf("its owner is told %q", got)
	}
}
