package fake

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/gitwork"
)

// gitRun is one operation of berth on the repository of a session: what the script of package gitwork does with git.
type gitRun struct {
	Command
	node    *node
	session *session
	url     string
	args    []string
	author  string
}

// startGitwork starts an operation of berth. It is not one of the session's commands. The caller holds the node's mu.
func startGitwork(i *inside, s *session, r reply, c agent.Command) (*process, error) {
	op, args, ok := gitwork.Operation(c.Args)
	if !ok {
		return nil, fmt.Errorf("%w: %q is hidden, and no operation that the fake knows", agent.ErrNotExecutable, c.Args[0])
	}
	p := &process{inside: i, session: s, started: c, reply: r, oomKills: i.container.oomKills}
	ctx, err := p.prepare()
	if err != nil {
		return nil, err
	}
	do := &gitRun{Command: p.command(), node: i.container.node, session: s, url: i.container.remote, args: args, author: s.author}
	i.container.node.engine.running.Go(func() {
		p.run(ctx, func(context.Context, Command) int { return do.run(op) }, do.Command)
	})
	return p, nil
}

func (g *gitRun) run(op string) int {
	g.node.mu.Lock()
	full := g.node.full
	g.node.mu.Unlock()
	if full {
		return g.fail("error: file write error: No space left on device")
	}
	return map[string]func() int{
		gitwork.OpChanges: g.changes, gitwork.OpPatch: g.patch, gitwork.OpCommit: g.commit, gitwork.OpPush: g.push,
		gitwork.OpSave: g.save, gitwork.OpUnsave: g.unsave, gitwork.OpApply: g.apply, gitwork.OpBranch: g.begin,
	}[op]()
}

func (g *gitRun) fail(format string, args ...any) int {
	fmt.Fprintf(g.Stderr, format+"\n", args...)
	return 1
}

// repository returns a copy of the session's.
func (g *gitRun) repository() repository {
	g.node.mu.Lock()
	defer g.node.mu.Unlock()
	r := *g.session.git
	r.known, r.remote = maps.Clone(r.known), maps.Clone(r.remote)
	return r
}

// set changes the session's repository.
func (g *gitRun) set(change func(*repository)) {
	g.node.mu.Lock()
	defer g.node.mu.Unlock()
	change(g.session.git)
	g.session.branch = g.session.git.branch
}

func (g *gitRun) look() (r repository, tree map[string]blob) {
	return g.repository(), g.Files.workTree()
}

func (g *gitRun) changes() int {
	r, tree := g.look()
	var out strings.Builder
	fmt.Fprintf(&out, "# branch.oid %s\x00# branch.head %s\x00", r.head.id, cmp.Or(r.branch, "(detached)"))
	for _, d := range compare(r.head.tree, tree) {
		switch {
		case d.was == nil:
			fmt.Fprintf(&out, "? %s\x00", d.name)
		case d.is == nil:
			fmt.Fprintf(&out, "1 .D N... 100644 100644 000000 0 0 %s\x00", d.name)
		default:
			fmt.Fprintf(&out, "1 .M N... 100644 100644 100644 0 0 %s\x00", d.name)
		}
	}
	out.WriteString("commits\x00")
	for _, c := range r.unpushed() {
		fmt.Fprintf(&out, "%s %d %s\n%s\x00", c.id, c.at.Unix(), c.author, c.subject())
	}
	out.WriteString("\x00stashes\x00")
	if _, err := io.WriteString(g.Stdout, out.String()); err != nil {
		return 1
	}
	return 0
}

func (g *gitRun) patch() int {
	r, tree := g.look()
	base, was := r.base(), map[string]blob(nil)
	if base != nil {
		was = base.tree
	}
	changes := compare(was, tree)
	if len(changes) == 0 {
		return 0
	}
	id := ""
	if base != nil {
		id = base.id
	}
	message := fmt.Sprintf("%s\n\nBerth-Base: %s\nBerth-Branch: %s\n", g.args[1], id, r.branch)
	if _, err := io.WriteString(g.Stdout, mail(g.author, message, changes)); err != nil {
		return 1
	}
	return 0
}

func (g *gitRun) commit() int {
	message, err := io.ReadAll(g.Stdin)
	if err != nil {
		return g.fail("%v", err)
	}
	r, tree := g.look()
	if paths := g.args[2:]; len(paths) > 0 {
		chosen := func(name string) bool {
			return slices.ContainsFunc(paths, func(p string) bool {
				p = path.Clean(p)
				return p == "." || name == p || strings.HasPrefix(name, p+"/")
			})
		}
		all := maps.Clone(r.head.tree)
		maps.DeleteFunc(all, func(name string, _ blob) bool { return chosen(name) })
		maps.DeleteFunc(tree, func(name string, _ blob) bool { return !chosen(name) })
		maps.Copy(tree, all)
	}
	if maps.Equal(tree, r.head.tree) && g.args[0] == "no" {
		return gitwork.ExitNothing
	}
	c := newCommit(r.head, tree, string(message), cmp.Or(g.Env["GIT_AUTHOR_NAME"], g.author))
	g.set(func(r *repository) { r.head = c })
	fmt.Fprintln(g.Stdout, c.id)
	return 0
}

func (g *gitRun) push() int {
	r := g.repository()
	branch := cmp.Or(g.args[1], r.branch)
	switch {
	case g.args[0] != "origin":
		return g.fail("fatal: %q does not appear to be a git repository", g.args[0])
	case branch == "":
		return g.fail("HEAD is detached: name the branch to push to")
	}
	if code := g.send(r.head, branch, g.args[2] == "yes"); code != 0 {
		return code
	}
	fmt.Fprintln(g.Stdout, r.head.id, branch)
	return 0
}

// send pushes a commit.
func (g *gitRun) send(c *commit, branch string, force bool) int {
	if refused := g.node.engine.remotes.receive(g.url, g.session.knownHosts, branch, c, force); refused != "" {
		return g.fail("%s", refused)
	}
	g.set(func(r *repository) {
		r.remote[branch] = c.id
		for ; c != nil && !r.known[c.id] && !isSave(branch); c = c.parent {
			r.known[c.id] = true
		}
	})
	return 0
}

func (g *gitRun) save() int {
	r, tree := g.look()
	if maps.Equal(tree, r.head.tree) && len(r.unpushed()) == 0 {
		return gitwork.ExitNothing
	}
	c := newCommit(r.head, tree, g.args[2]+"\n\nBerth-Saved: yes\nBerth-Branch: "+r.branch+"\n", g.author)
	if code := g.send(c, g.args[1], true); code != 0 {
		return code
	}
	fmt.Fprintln(g.Stdout, c.id)
	return 0
}

// field returns the value of a line "NAME: VALUE" of a text.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (g *gitRun) unsave() int {
	r := g.repository()
	if field(r.head.message, "Berth-Saved") == "" {
		fmt.Fprintln(g.Stdout, r.branch)
		return 0
	}
	branch := field(r.head.message, "Berth-Branch")
	g.set(func(r *repository) {
		r.branch = branch
		if r.head.parent != nil {
			r.head = r.head.parent
		}
	})
	fmt.Fprintln(g.Stdout, branch)
	return 0
}

func (g *gitRun) apply() int {
	text, err := io.ReadAll(g.Stdin)
	if err != nil {
		return g.fail("%v", err)
	}
	tree := g.Files.workTree()
	if err := unmail(string(text), tree); err != nil {
		return g.fail("error: %v", err)
	}
	g.Files.checkOut(tree)
	if branch := g.args[0]; branch != "" {
		g.set(func(r *repository) { r.branch = branch })
	}
	fmt.Fprintln(g.Stdout, g.args[0])
	return 0
}

func (g *gitRun) begin() int {
	name := g.args[0]
	r := g.repository()
	if r.remote[name] != "" {
		return g.fail("fatal: a branch named '%s' exists at the remote", name)
	}
	g.set(func(r *repository) { r.branch = name })
	return 0
}

// difference is a file that differs between two trees; nil = it is not there.
type difference struct {
	name    string
	was, is *blob
}

// compare returns the files that differ, in the order of their names.
func compare(was, is map[string]blob) (all []difference) {
	names := slices.Collect(maps.Keys(was))
	for name := range is {
		if _, ok := was[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		d := difference{name: name}
		if b, ok := was[name]; ok {
			d.was = &b
		}
		if b, ok := is[name]; ok {
			d.is = &b
		}
		if d.was == nil || d.is == nil || *d.was != *d.is {
			all = append(all, d)
		}
	}
	return all
}

// quote returns a name as a patch has it.
func quote(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}
