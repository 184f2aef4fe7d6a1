package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// printer writes the story, each line with its time. It is safe for concurrent use.
type printer struct {
	begun time.Time

	mu sync.Mutex // protects w
	w  io.Writer
}

func newPrinter(w io.Writer) *printer { return &printer{begun: time.Now(), w: w} }

// say prints a line.
func (p *printer) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%5.1f s  %s\n", time.Since(p.begun).Seconds(), fmt.Sprintf(format, args...))
}

// heading prints what the following lines are about.
func (p *printer) heading(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "\n%s\n\n", text)
}

// table prints rows in columns, and the first one as their heading.
func (p *printer) table(rows [][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w)
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, "  "+strings.Join(row, "\t"))
	}
	t.Flush()
}
