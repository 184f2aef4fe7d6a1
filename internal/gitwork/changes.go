package gitwork

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/work"
)

// The bounds of Changes.
const (
	maxFiles   = 10_000
	maxCommits = 1000
	maxStashes = 100
	maxStatus  = 16 << 20 // bytes of git's output
)

// Changes returns what is not saved.
func (r Repository) Changes(ctx context.Context) (work.Changes, error) {
	out := &head{max: maxStatus}
	err := r.do(ctx, "status", Call{
		Args: Args(OpChanges, r.Start, strconv.Itoa(maxCommits+1), strconv.Itoa(maxStashes+1)), Stdout: out,
	})
	if err != nil {
		return work.Changes{}, err
	}
	c, err := parseChanges(out.b.String(), out.cut)
	if err != nil {
		return work.Changes{}, fmt.Errorf("git status: %w", err)
	}
	return c, nil
}

// parseChanges reads what OpChanges prints. cut: the end is missing.
func parseChanges(text string, cut bool) (c work.Changes, err error) {
	c.Truncated = cut
	words := strings.Split(text, "\x00")
	if cut {
		words = words[:len(words)-1] // it may be a part
	}
	part := "files"
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "":
		case part == "files" && w == "commits", part == "commits" && w == "stashes":
			part = w
		case part == "commits":
			if err := addCommit(&c, w); err != nil {
				return c, err
			}
		case part == "stashes":
			if c.Truncated = c.Truncated || len(c.Stashes) == maxStashes; len(c.Stashes) < maxStashes {
				c.Stashes = append(c.Stashes, w)
			}
		default:
			from := ""
			if strings.HasPrefix(w, "2 ") && i+1 < len(words) {
				i++
				from = words[i]
			}
			if err := addFile(&c, w, from); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// addFile adds an entry of git status in its format "porcelain=v2".
func addFile(c *work.Changes, entry, from string) error {
	fields := map[byte]int{'1': 9, '2': 10, 'u': 11, '?': 2, '#': 3}[entry[0]]
	f := strings.SplitN(entry, " ", max(fields, 2))
	if fields == 0 || len(f) < fields {
		return fmt.Errorf("an entry that is not known: %.100q", entry)
	}
	file := work.File{Path: f[fields-1], From: from, Index: work.Same, Tree: work.Untracked}
	switch entry[0] {
	case '#':
		switch value := f[2]; f[1] {
		case "branch.oid":
			c.Head = strings.TrimPrefix(value, "(initial)")
		case "branch.head":
			c.Branch = strings.TrimPrefix(value, "(detached)")
		}
		return nil
	case 'u':
		file.Index, file.Tree = work.Unmerged, work.Unmerged
	case '1', '2':
		if len(f[1]) != 2 {
			return fmt.Errorf("an entry that is not known: %.100q", entry)
		}
		file.Index, file.Tree = work.State(f[1][0]), work.State(f[1][1])
	}
	if len(c.Files) == maxFiles {
		c.Truncated = true
		return nil
	}
	c.Files = append(c.Files, file)
	return nil
}

// addCommit adds an entry of git log: "ID TIME AUTHOR", and the subject in the next line.
func addCommit(c *work.Changes, entry string) error {
	line, subject, _ := strings.Cut(entry, "\n")
	f := strings.SplitN(line, " ", 3)
	if len(f) < 3 {
		return fmt.Errorf("a commit that is not known: %.100q", entry)
	}
	at, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return err
	}
	if len(c.Unpushed) == maxCommits {
		c.Truncated = true
		return nil
	}
	c.Unpushed = append(c.Unpushed, work.Commit{ID: f[0], Subject: subject, Author: f[2], Time: time.Unix(at, 0)})
	return nil
}
