package wire

import "time"

// KeepWork is agent.Keep.
type KeepWork struct {
	Session string        `json:"session"`
	Branch  string        `json:"branch,omitempty"`
	Count   int           `json:"count"`
	Bytes   int64         `json:"bytes"`
	Age     time.Duration `json:"age"`
}

// BringWork asks for the kept work of a session. Into is the session to which it is unpacked; "" = it is only described.
type BringWork struct {
	Kept string `json:"kept"`
	Into string `json:"into,omitempty"`
}

// Kept is agent.Kept.
type Kept struct {
	Branch string `json:"branch,omitempty"`
	Commit string `json:"commit,omitempty"`
	Bytes  int64  `json:"bytes"`
}
