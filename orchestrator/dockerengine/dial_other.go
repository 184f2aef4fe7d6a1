//go:build !unix

package dockerengine

// isRefused is false: it matters for the wording of an error only.
func isRefused(error) bool { return false }
