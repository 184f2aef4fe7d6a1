package narrate

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Printer writes a story, each line with its time. It is safe for concurrent use.
type Printer struct {
	begun time.Time

	mu sync.Mutex // protects w
	w  io.Writer
}

// NewPrinter returns a Printer whose times begin now.
func NewPrinter(w io.Writer) *Printer { return &Printer{begun: time.Now(), w: w} }

// Say prints a line.
func (p *Printer) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%5.1f s  %s\n", time.Since(p.begun).Seconds(), fmt.Sprintf(format, args...))
}

// Heading prints what the following lines are about.
func (p *Printer) Heading(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "\n%s\n\n", text)
}

// Table prints rows in columns. The first row is the heading.
func (p *Printer) Table(rows [][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w)
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, "  "+strings.Join(row, "\t"))
	}
	t.Flush()
}
