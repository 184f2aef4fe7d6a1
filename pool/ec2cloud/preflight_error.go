package ec2cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// PreflightError holds the problems that keep a pool from launching.
type PreflightError struct {
	Problems []error // each says what to do
}

// Error lists the problems, a line each.
func (e *PreflightError) Error() string {
	lines := []string{fmt.Sprintf("ec2cloud: no instance can be launched before these problems are solved (%d):", len(e.Problems))}
	if e.Retryable() {
		lines[0] = "ec2cloud: AWS fails at present, and no problem with the settings is known:"
	}
	for _, p := range e.Problems {
		lines = append(lines, "- "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (e *PreflightError) Unwrap() []error { return e.Problems }

// Retryable reports whether all problems are transient failures of AWS, so that the same call may succeed after a while.
func (e *PreflightError) Retryable() bool {
	return !slices.ContainsFunc(e.Problems, func(p error) bool { return !errors.As(p, new(transientError)) })
}

// transientError is a problem that goes by itself.
type transientError struct{ error }

// Unwrap returns the cause.
func (e transientError) Unwrap() error { return e.error }
