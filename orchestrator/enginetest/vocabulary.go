package enginetest

import "time"

// The commands that the suite runs. An engine that runs real commands needs their programs in its image. Any other engine
// can use [Execute].
var (
	cmdTrue     = []string{"true"}
	cmdFalse    = []string{"false"}
	cmdExit3    = []string{"sh", "-c", "exit 3"}
	cmdKilled   = []string{"sh", "-c", "kill -15 $$"}
	cmdEcho     = []string{"echo", "hello"}
	cmdCat      = []string{"cat"}
	cmdForever  = []string{"sleep", "100000"}
	cmdBrief    = []string{"sleep", "1"}
	cmdTree     = []string{"sh", "-c", "sleep 100000 & sleep 100000"}
	cmdBoth     = []string{"sh", "-c", "echo out; echo err >&2"}
	cmdMixed    = []string{"sh", "-c", "echo 1; echo 2 >&2; echo 3; echo 4 >&2"}
	cmdAnswer   = []string{"sh", "-c", "echo one; read line; echo two"}
	cmdGreeting = []string{"sh", "-c", `echo "$GREETING"`}
	cmdDir      = []string{"pwd"}
	cmdZeros    = []string{"head", "-c", "8388608", "/dev/zero"}
	cmdPage     = []string{"head", "-c", "20000", "/dev/zero"}
	cmdWrite    = []string{"sh", "-c", "cat > note"}   // cmdRead of the file's path reads it
	cmdHog      = []string{"tail", "-c", "1000000000"} // keeps its input in memory
	cmdHogChild = []string{"sh", "-c", "head -c 1000000000 /dev/zero | tail -c 1000000000 >/dev/null; exit 3"}
	cmdTrap     = []string{"sh", "-c", `trap "exit 7" USR1; echo ready; sleep 100000 >/dev/null & wait`}
	cmdTrapTree = []string{"sh", "-c", `trap "exit 7" USR1; echo ready; sleep 100000; exit 8`} // only the group's signal ends it
	cmdTerminal = []string{"sh", "-c", `stty size; read line; echo "got $line"; stty size; test -t 0 -a -t 1 -a -t 2 && exit 5`}
	// cmdServe listens on servePort, for any number of connections, and says a line then. It refuses each repository.
	cmdServe = []string{"sh", "-c", "exec git daemon --listen=127.0.0.1 --port=8123 --reuseaddr --max-connections=0 --verbose --log-destination=stderr 2>&1"}
	// cmdAsk asks for a credential, for the URL of its input.
	cmdAsk = []string{"git", "credential", "fill"}
	// cmdKeys prints the keys of the agent of ssh.
	cmdKeys   = []string{"ssh-add", "-L"}
	cmdAbsent = []string{"no-such-program"}
	// cmdPrepare prepares a workspace. cmdKept reads what it has put into the home.
	cmdPrepare = []string{"sh", "-c", `echo prepared > note && mkdir -p dep "$HOME/kept" && echo "$GREETING" > dep/greeting && echo home > "$HOME/kept/note"`}
	cmdKept    = []string{"sh", "-c", `cat "$HOME/kept/note"`}
	// cmdKeep writes its input to the home and to the temporary directory, and prints both files' names.
	cmdKeep = []string{"sh", "-c", `tee "$HOME/note" > "$TMPDIR/note"; echo "$HOME/note"; echo "$TMPDIR/note"`}
)

const (
	servePort = 8123

	zeros = 8 << 20     // how many bytes cmdZeros prints
	page  = 20000       // how many bytes cmdPage prints: they fit into a pipe
	brief = time.Second // how long cmdBrief runs
)

func cmdRead(path string) []string { return []string{"cat", path} }

// Programs are the programs that the suite starts. It expects each of them in a container.
var Programs = []string{"cat", "echo", "false", "git", "head", "pwd", "sh", "sleep", "ssh-add", "stty", "tail", "tee", "true"}
