package credential

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-go/berth/agent/internal/wire"
)

const wireSize = wire.MostQuestion

// mostAncestors bounds how far up a process looks.
const mostAncestors = 16

// pushes reports whether a process belongs to a git that pushes. Git does not say for what it asks, but its own command line does. A
// session can write any, so this is what the session says, and no more.
func pushes(pid int) bool {
	for range mostAncestors {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil {
			return false
		}
		switch verb(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")) {
		case "push", "send-pack", "pre-push", "http-push":
			return true
		case "fetch", "pull", "clone", "ls-remote", "fetch-pack", "submodule", "smudge", "filter-process":
			return false
		}
		if pid = parent(pid); pid <= 1 {
			return false
		}
	}
	return false
}

// verb returns what a command line of git or git-lfs does; "" = it is another program's.
func verb(args []string) string {
	program := filepath.Base(args[0])
	if rest, ok := strings.CutPrefix(program, "git-"); ok && rest != "lfs" {
		return rest
	}
	if program != "git" && program != "git-lfs" {
		return ""
	}
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "-c" || arg == "-C" || arg == "--git-dir" || arg == "--work-tree" || arg == "--namespace" || arg == "--exec-path" || arg == "--config-env":
			i++
		case arg == "lfs": // git lfs push
		case !strings.HasPrefix(arg, "-"):
			return arg
		}
	}
	return ""
}

// parent returns the parent of a process, or 0.
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}
