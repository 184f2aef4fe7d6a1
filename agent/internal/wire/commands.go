package wire

// Bounds of what the agent remembers of the commands of a session, and tells in one answer.
const (
	CommandPage   = 100      // commands in one answer
	MostEnded     = 100      // ended commands of a session that are remembered
	MostArguments = 4 << 10  // bytes of the arguments of one command that are remembered
	MostWords     = 256      // arguments of one command that are remembered
	MostRecalled  = 64 << 10 // bytes of the arguments of all ended commands of a session

	Keep     = 16 << 20  // bytes of each output of a detached command that are kept, unless it says otherwise
	MostKept = 256 << 20 // bytes of the output of all ended commands of a session, and of one command
)

// Command is agent.CommandInfo. Times are told by how long ago they were, as the clocks of two machines differ.
type Command struct {
	Seq    uint64   `json:"seq"` // its place in the order of the starts of its session
	ID     string   `json:"id"`
	Args   [][]byte `json:"args"`
	Cut    bool     `json:"cut,omitempty"` // Args are not whole
	Pid    int      `json:"pid,omitempty"`
	Age    float64  `json:"age"`             // seconds since its start
	Since  float64  `json:"since,omitempty"` // seconds since its end
	Exit   *Exit    `json:"exit,omitempty"`  // nil = it runs
	Stdout int64    `json:"stdout,omitempty"`
	Stderr int64    `json:"stderr,omitempty"`

	Detached bool `json:"detached,omitempty"`
}

// Recalled returns the arguments of a command as far as the agent remembers them, how many bytes that are, and whether something is
// missing.
func Recalled[A ~string | ~[]byte](args []A) (kept []A, size int, cut bool) {
	for _, a := range args {
		room := MostArguments - size
		switch {
		case len(kept) == MostWords || room == 0:
			return kept, size, true
		case len(a) > room:
			return append(kept, a[:room]), MostArguments, true
		}
		kept, size = append(kept, a), size+len(a)
	}
	return kept, size, false
}
