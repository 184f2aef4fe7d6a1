//go:build !unix

package dockerengine

// isRefused is about the wording of an error only.
func isRefused(error) bool { return false }
