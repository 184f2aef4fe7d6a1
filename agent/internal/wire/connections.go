package wire

import "net/netip"

// MostConnections bounds the connections of a session at one time.
const MostConnections = 1024

// Dial is agent.Dial.
type Dial struct {
	Session string `json:"session"`
	Network string `json:"network"`
	Address string `json:"address"`
	Manager string `json:"manager"` // of the client
}

// Dialled has the addresses of a connection, as its client sees it.
type Dialled struct {
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
}

// Port is agent.Port.
type Port struct {
	Addr    netip.AddrPort `json:"addr"`
	Pid     int            `json:"pid,omitempty"`
	Program string         `json:"program,omitempty"`
}
