package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
)

// printer writes the story, and the progress of the current step. On a terminal the progress is one line that changes, elsewhere
// it is a line for each fifth. A printer is safe for concurrent use.
type printer struct {
	terminal bool

	mu    sync.Mutex // protects the fields below
	w     io.Writer
	dirty bool           // the terminal's current line shows progress
	told  map[string]int // the fifths of each step that were printed; not on a terminal
}

func newPrinter(w io.Writer, terminal bool) *printer {
	return &printer{w: w, terminal: terminal, told: make(map[string]int)}
}

// isTerminal reports whether the output is a terminal.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printf prints lines of the story.
func (p *printer) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	fmt.Fprintf(p.w, format, args...)
}

// table prints rows in columns. The first row is the heading.
func (p *printer) table(rows [][]string) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, "  "+strings.Join(row, "\t"))
	}
	t.Flush()
	p.printf("%s\n", &b)
}

// progress shows how far a step is. message is like "acme/shop: Receiving objects: 40 %".
func (p *printer) progress(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		p.wipe()
		fmt.Fprintf(p.w, "  %.76s", message) // a longer one would need a second line
		p.dirty = true
		return
	}
	step, percent := cutPercent(message)
	if told, again := p.told[step]; again && told == percent/20 {
		return
	}
	p.told[step] = percent / 20
	fmt.Fprintf(p.w, "  %s\n", message)
}

// wipe empties the terminal's current line. The caller holds mu.
func (p *printer) wipe() {
	if p.dirty {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.dirty = false
	}
}

// cutPercent separates a step from the percentage at the end of its message.
func cutPercent(message string) (step string, percent int) {
	number, found := strings.CutSuffix(message, " %")
	space := strings.LastIndexByte(number, ' ')
	if !found || space < 0 {
		return message, 0
	}
	percent, err := strconv.Atoi(number[space+1:])
	if err != nil {
		return message, 0
	}
	return number[:space], percent
}
