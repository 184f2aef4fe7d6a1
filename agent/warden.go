package agent

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/berth-go/berth/agent/internal/wire"
)

// IsolationCommand returns the command that prints what the warden's rooms do. It runs in the warden's container, as root.
func IsolationCommand() []string { return []string{Program, "isolation"} }

// ReadIsolation reads what IsolationCommand prints.
func ReadIsolation(r io.Reader) (Isolation, error) {
	text, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return Isolation{}, err
	}
	var i wire.Isolation
	if err := json.Unmarshal(text, &i); err != nil {
		return Isolation{}, fmt.Errorf("the warden's answer %q: %w", text, err)
	}
	return Isolation(i), nil
}
