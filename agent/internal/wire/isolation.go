package wire

// ExitNoWalls is the exit code of an agent without the walls of its network.
const ExitNoWalls = 3

// Isolation is agent.Isolation.
type Isolation struct {
	Rooms  bool   `json:"rooms"`
	Reason string `json:"reason,omitempty"`
	Cgroup int    `json:"cgroup,omitempty"`
	Memory bool   `json:"memory,omitempty"`
	CPU    bool   `json:"cpu,omitempty"`
	PIDs   bool   `json:"pids,omitempty"`

	Network bool `json:"network,omitempty"`

	DiskQuota bool `json:"disk_quota,omitempty"`

	Checkouts bool   `json:"checkouts,omitempty"`
	Copies    string `json:"copies,omitempty"`
}
