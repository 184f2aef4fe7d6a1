package gittest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// A History writes the content of a repository as a stream for git fast-import. A history always gives the same
// commits, with the same hashes.
type History func(io.Writer) error

// Files is a history of one commit on main.
func Files(files map[string]string) History {
	return func(w io.Writer) error {
		s := newImport(w)
		paths := make([]string, 0, len(files))
		for path := range files {
			paths = append(paths, path)
		}
		slices.Sort(paths)
		s.commit("main", "Add files")
		for _, path := range paths {
			s.file(path, files[path])
		}
		return s.end()
	}
}

// Empty is a repository without a commit.
func Empty() History {
	return func(w io.Writer) error { return newImport(w).end() }
}

// Small is about as large as a small Go library: 150 files, 400 commits, the branches main, dev and release/1.0, and a
// tag for every hundred commits.
func Small() History { return generated(150, 400, 6<<10) }

// Large is about as large as a large project's tree: 13,000 files in 650 directories, in 5 commits on main, dev and
// release/1.0. Making it takes seconds.
func Large() History { return generated(13_000, 5, 4<<10) }

// Long has a history that is much larger than its tree: 200 files, 6,000 commits.
func Long() History { return generated(200, 6000, 8<<10) }

// generated returns a history of files of about size bytes. Its commits change them a little.
func generated(files, commits, size int) History {
	return func(w io.Writer) error {
		s := newImport(w)
		random := rand.New(rand.NewPCG(uint64(files), uint64(commits)))
		contents := make([]string, files)
		s.commit("main", "Begin")
		s.file("README.md", fmt.Sprintf("# A repository of %d files\n", files))
		for i := range contents {
			contents[i] = text(random, size/2+random.IntN(size))
			s.file(pathOf(i), contents[i])
		}
		for n := 1; n < commits; n++ {
			s.commit("main", fmt.Sprintf("Change %d\n\n%s", n, text(random, 120)))
			for range 1 + random.IntN(3) {
				i := random.IntN(files)
				contents[i] += text(random, 160)
				s.file(pathOf(i), contents[i])
			}
			if n%100 == 0 {
				s.reset(fmt.Sprintf("refs/tags/v0.%d.0", n/100), "main")
			}
			if n == commits/2 {
				s.reset("refs/heads/release/1.0", "main")
			}
		}
		s.reset("refs/heads/dev", "main")
		s.commit("dev", "Try something")
		s.file("dev.txt", "only on dev\n")
		return s.end()
	}
}

// pathOf spreads files over directories of twenty files each.
func pathOf(i int) string {
	return fmt.Sprintf("pkg%02d/part%d/file%05d.go", i/20%50, i/1000, i)
}

var words = strings.Fields(`func return if err nil for range struct string int type package import defer go select case
	buffer reader writer context cancel error value index count first second found missing open close lock wait done`)

// text returns about n bytes in lines that compress like source code.
func text(random *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(strings.Repeat("\t", random.IntN(3)))
		for range 2 + random.IntN(8) {
			b.WriteString(words[random.IntN(len(words))])
			b.WriteByte(" (.,:="[random.IntN(6)])
		}
		fmt.Fprintf(&b, "%x\n", random.Uint32N(1<<16))
	}
	return b.String()
}

// An importStream writes the language of git fast-import.
type importStream struct {
	w    *bufio.Writer
	when int64 // time of the next commit, in seconds since 1970
}

func newImport(w io.Writer) *importStream {
	return &importStream{w: bufio.NewWriter(w), when: 1_700_000_000}
}

// commit begins a commit on top of a branch. The first commit makes the branch. The following calls of file belong to
// the commit.
func (s *importStream) commit(branch, message string) {
	fmt.Fprintf(s.w, "commit refs/heads/%s\ncommitter Berth Test <test@berth.invalid> %d +0000\n", branch, s.when)
	s.data(message + "\n")
	s.when += 60
}

// file sets a file of the current commit.
func (s *importStream) file(path, content string) {
	fmt.Fprintf(s.w, "M %s inline %s\n", modeOf(content), path)
	s.data(content)
}

func (s *importStream) data(content string) { fmt.Fprintf(s.w, "data %d\n%s\n", len(content), content) }

// reset makes a ref point where a branch points.
func (s *importStream) reset(ref, branch string) {
	fmt.Fprintf(s.w, "reset %s\nfrom refs/heads/%s\n\n", ref, branch)
}

func (s *importStream) end() error {
	fmt.Fprint(s.w, "done\n")
	return s.w.Flush()
}

// modeOf returns the mode of a file. Scripts are executable.
func modeOf(content string) string {
	if strings.HasPrefix(content, "#!") {
		return "100755"
	}
	return "100644"
}
