//go:build linux

// Hostile is what a hostile session of a test runs. It does what a shell cannot do, prints a line that begins with "harm" for each
// act that must not succeed, and "done" in the end.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

var programs = map[string]func(args []string) error{
	"intrude": func([]string) error { return intrude() },
	"deny":    func([]string) error { return deny() },
	"dial":    dial,
	"answer":  answer,
	"hand":    hand,
	"take":    take,
	"spin":    spin,
	"use":     func(args []string) error { return use(args, true) },
	"try":     func(args []string) error { return use(args, false) },
	"eat":     eat,
	"child":   child,
	"ports":   takePorts,
	"sockets": holdSockets,
	"connect": func([]string) error { return connect() },
	"cling":   func([]string) error { return cling() },
	"move":    move,
	"flow":    flow,
	"reach":   reach,
}

func main() {
	run := programs[os.Args[1]]
	if run == nil {
		fmt.Println("harm: unknown program", os.Args[1])
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func itoa(n int) string { return strconv.Itoa(n) }

func harm(format string, args ...any) { fmt.Printf("harm: "+format+"\n", args...) }

// hold waits until standard input ends.
func hold() { io.Copy(io.Discard, os.Stdin) }

// own reports whether a process in /proc is the session's.
func own(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(string(status), "\n"), func(line string) bool {
		return strings.HasPrefix(line, fmt.Sprintf("Uid:\t%d\t", os.Getuid()))
	})
}

// listed returns the processes in /proc.
func listed() (pids []int) {
	names, _ := os.ReadDir("/proc")
	for _, n := range names {
		if pid, err := strconv.Atoi(n.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
