package room

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"syscall"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// An order is a message of the agent to an init: one of Greet, Start and Signal.
type order struct {
	Greet  *Settings // the first; answered by Ready
	Start  *start
	Signal *signalling // without an answer
}

// Settings are what an init must know before it starts commands.
type Settings struct {
	MaxProcesses int `json:"max_processes"` // RLIMIT_NPROC of the session's uid
	MaxFiles     int `json:"max_files"`     // RLIMIT_NOFILE of each command, if the hard limit allows
}

// start is a command to start. Its three standard streams come with it. Seq names it from then on.
type start struct {
	Seq       uint64
	Mark, UID int
	Path, Dir string
	Args, Env []string
	Terminal  *proc.Size // its terminal, whose other end comes with Started; nil = it has its streams
}

// signalling is a signal for what was started under a number, if it runs.
type signalling struct {
	Seq    uint64         `json:"seq"`
	Number syscall.Signal `json:"number"`
	Group  bool           `json:"group,omitempty"`
}

// A report is a message of an init to the agent: one of Ready, Started, Failed and Ended.
type report struct {
	Ready   bool                `json:"ready,omitempty"` // the file that counts kills for lack of memory comes with it, if there is one
	Seq     uint64              `json:"seq,omitempty"`
	Started bool                `json:"started,omitempty"`
	Pid     int                 `json:"pid,omitempty"`    // of what was started, in the room
	Failed  *wire.Error         `json:"failed,omitempty"` // it was not started
	Ended   *syscall.WaitStatus `json:"ended,omitempty"`
}

// streams are the files of a start.
const streams = len(proc.Spec{}.Files)

// The first byte of an order. A start is not JSON: its arguments may be any bytes, and each command waits for it.
const (
	isGreet  = 'g'
	isStart  = 's'
	isSignal = 'k'
)

func (o order) MarshalBinary() ([]byte, error) {
	if o.Signal != nil {
		text, err := json.Marshal(o.Signal)
		return append([]byte{isSignal}, text...), err
	}
	if o.Start == nil {
		text, err := json.Marshal(o.Greet)
		return append([]byte{isGreet}, text...), err
	}
	s := o.Start
	b := []byte{isStart}
	for _, n := range []uint64{s.Seq, uint64(s.Mark), uint64(s.UID), s.terminal(), uint64(len(s.Args)), uint64(len(s.Env))} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendStrings(b, s.Path, s.Dir)
	b = appendStrings(b, s.Args...)
	return appendStrings(b, s.Env...), nil
}

// hasTerminal is set in the number of a terminal's size.
const hasTerminal = 1 << 32

// terminal returns the size of the terminal as a number; 0 = there is none.
func (s *start) terminal() uint64 {
	if s.Terminal == nil {
		return 0
	}
	return hasTerminal | uint64(s.Terminal.Rows)<<16 | uint64(s.Terminal.Cols)
}

func appendStrings(b []byte, ss ...string) []byte {
	for _, s := range ss {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

var errMessage = errors.New("control socket: a message cannot be read")

func (o *order) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return errMessage
	}
	kind, b := b[0], b[1:]
	if kind == isGreet {
		return json.Unmarshal(b, &o.Greet)
	}
	if kind == isSignal {
		return json.Unmarshal(b, &o.Signal)
	}
	if kind != isStart {
		return errMessage
	}
	rest := string(b) // the parts share its memory
	var numbers [6]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return errMessage
		}
		numbers[i], b, rest = n, b[size:], rest[size:]
	}
	args, env := numbers[4], numbers[5]
	if args > uint64(len(b)) || env > uint64(len(b)) {
		return errMessage
	}
	parts := make([]string, 2+args+env)
	for i := range parts {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errMessage
		}
		parts[i] = rest[size : size+int(n)]
		b, rest = b[size+int(n):], rest[size+int(n):]
	}
	if len(b) > 0 {
		return errMessage
	}
	o.Start = &start{
		Seq: numbers[0], Mark: int(numbers[1]), UID: int(numbers[2]), Path: parts[0], Dir: parts[1],
		Args: parts[2 : 2+args], Env: parts[2+args:],
	}
	if n := numbers[3]; n&hasTerminal != 0 {
		o.Start.Terminal = &proc.Size{Rows: uint16(n >> 16), Cols: uint16(n)}
	}
	return nil
}

func (r report) MarshalBinary() ([]byte, error)     { return json.Marshal(r) }
func (r *report) UnmarshalBinary(text []byte) error { return json.Unmarshal(text, r) }
