package pool

import (
	"errors"
	"slices"
	"time"
)

// A refusal of the credentials counts for refusalTerm, unless a later call says otherwise. Meanwhile the cloud is asked
// for its list every refusedLook: to ask sooner cannot help, and the credentials may be renewed at any time.
const (
	refusalTerm = time.Minute
	refusedLook = 30 * time.Second
)

// callSort is a sort of call to the cloud, with the permissions that it needs.
type callSort int

const (
	sortList callSort = iota
	sortLaunch
	sortEnd
	callSorts // how many there are
)

// refusal says when and why the cloud last refused the credentials for a sort of call; zero = it accepted the last one.
type refusal struct {
	until  time.Time
	reason string
}

// recordCall records whether the cloud accepts the credentials, as far as the outcome of a call says so. While the cloud
// refuses them, nothing is launched or ended, and no instance is given up because the cloud cannot be asked.
func (m *Manager) recordCall(sort callSort, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, ErrAuth):
		m.refused[sort] = refusal{time.Now().Add(refusalTerm), err.Error()}
	case err == nil:
		m.refused[sort] = refusal{}
	}
	if errors.Is(err, ErrThrottled) {
		m.throttles.Add(1)
	}
}

// credentialsRefused reports whether nothing may be launched or ended now. The caller holds mu.
func (m *Manager) credentialsRefused(now time.Time) bool {
	return slices.ContainsFunc(m.refused[:], func(r refusal) bool { return r.until.After(now) })
}

// refusalReason says why the cloud refuses a sort of call; "" = it accepted the last call of each sort. The caller holds
// mu.
func (m *Manager) refusalReason() string {
	for _, r := range m.refused {
		if r.reason != "" {
			return r.reason
		}
	}
	return ""
}
