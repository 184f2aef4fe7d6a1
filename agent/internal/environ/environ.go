// Package environ decides which part of an image's environment the sessions of its container get, and which part fetches get.
//
// An image is made for one user, most often root: its variables name directories in that user's home, or directories
// that are writable for all. A session has a home of its own and shares the container with others. So a variable that
// names a place for a tool's own files, such as a cache, names a place below the session's home instead. A variable that names
// a place that no session can enter is left out.
package environ

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An Image is the environment of an image, with the state of the paths in it. It is read before the first session begins, so no
// session can change it for another one.
type Image struct {
	vars []variable
	safe []string // the directories of PATH whose programs no session can change
	open []string // the others
	git  string   // the PATH to find git by
	npm  string   // the prefix of npm's global packages, where a session has none yet; "" = leave it alone
}

// variable is one variable of the image.
type variable struct {
	name, value string
	verdict     verdict
	own         string            // below the home; where verdict is replace
	seeds       map[string][]byte // files that the session's own place begins with, by name
	modules     string            // a directory of downloaded Go modules that the image brings
	open        bool              // it names a directory that any uid may write in
	misleads    bool              // it names something that a session can change
}

// Read reads the environment of an image. etc holds its passwd.
func Read(env []string, etc string) *Image {
	im := &Image{}
	homes := homesOf(filepath.Join(etc, "passwd"))
	last := make(map[string]string, len(env))
	var names []string
	for _, kv := range env {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			if _, known := last[name]; !known {
				names = append(names, name)
			}
			last[name] = value
		}
	}
	for _, name := range names {
		im.vars = append(im.vars, newVariable(name, last[name], homes, look))
	}
	path := last["PATH"]
	if path == "" {
		path = usualPath
	}
	im.safe, im.open = splitPath(path)
	im.git = gitPath(im.safe, im.open)
	if im.find("NVM_DIR") == nil && im.named("npm_config_prefix") == nil {
		im.npm = npmPrefix(filepath.SplitList(path))
	}
	return im
}

func newVariable(name, value string, homes []string, look func(string) state) variable {
	v := variable{name: name, value: value}
	v.value, v.verdict = decide(name, value, homes, look)
	first, _, _ := strings.Cut(value, ":")
	if !filepath.IsAbs(first) {
		return v
	}
	at := look(first)
	v.open = at.dir && at.open
	v.misleads = misleads(value)
	if v.verdict == replace {
		v.own = ownPlace(name)
		v.seeds = readSeeds(name, first)
		v.modules = downloaded(name, first)
	}
	return v
}

// find returns a variable of the image, or nil if the image does not set it.
func (im *Image) find(name string) *variable {
	for i := range im.vars {
		if im.vars[i].name == name {
			return &im.vars[i]
		}
	}
	return nil
}

// named is find for a name whose case does not matter.
func (im *Image) named(name string) *variable {
	for i := range im.vars {
		if strings.EqualFold(im.vars[i].name, name) {
			return &im.vars[i]
		}
	}
	return nil
}

// Open returns the directories that the image's variables name and any uid may write in.
func (im *Image) Open() (dirs []string) {
	for _, v := range im.vars {
		if v.open {
			first, _, _ := strings.Cut(v.value, ":")
			dirs = append(dirs, filepath.Clean(first))
		}
	}
	for _, dir := range im.open {
		if filepath.IsAbs(dir) {
			if at := look(dir); at.dir && at.open {
				dirs = append(dirs, filepath.Clean(dir))
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// A Home is the part of an image's environment that a session gets.
type Home struct {
	Env   []string          // with PATH
	Dirs  []string          // directories to make below the home
	Files map[string][]byte // files to write below the home
}

// Session returns the environment of a session with that home. Its PATH has the session's own programs first, then the
// directories that no session can change. Directories that every session may write in come last, so that no session can put a
// program with a common name before the image's program.
func (im *Image) Session(home string) Home {
	h := Home{Files: make(map[string][]byte)}
	own := []string{filepath.Join(home, local, "bin")} // where pip, npm and others put what a user installs
	image := append(slices.Clone(im.safe), im.open...)
	set := func(name, value string) { h.Env = append(h.Env, name+"="+value) }
	put := func(place string, seeds map[string][]byte) {
		if place != "" {
			h.Dirs = append(h.Dirs, place)
		}
		for name, content := range seeds {
			h.Files[filepath.Join(place, name)] = content
		}
	}
	for _, v := range im.vars {
		switch v.verdict {
		case keep:
			set(v.name, v.value)
		case replace:
			first, _, _ := strings.Cut(v.value, ":")
			place := filepath.Join(home, v.own)
			set(v.name, place)
			put(v.own, v.seeds)
			own = append(own, programs(image, first, place)...)
			if v.name == "GEM_HOME" && im.find("GEM_PATH") == nil {
				set("GEM_PATH", place+":"+first+":") // the colon at the end stands for what Ruby itself brings
			}
		}
	}
	if dir := im.modules(); dir != "" {
		set("GOPROXY", modulesFirst(dir, im.find("GOPROXY")))
	}
	if im.npm != "" {
		set("npm_config_prefix", filepath.Join(home, local))
		put(local, readSeeds("npm_config_prefix", im.npm))
	}
	var path []string
	for _, dir := range append(own, image...) {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	set("PATH", strings.Join(path, string(filepath.ListSeparator)))
	return h
}

// modules returns the directory of the Go modules that the image has, or "" if there is none.
func (im *Image) modules() string {
	for _, name := range []string{"GOMODCACHE", "GOPATH"} {
		if v := im.find(name); v != nil {
			return v.modules
		}
	}
	return ""
}

// programs returns the directories in a session's own place that take the part of those of the image's in a PATH.
func programs(path []string, image, own string) (dirs []string) {
	for _, dir := range path {
		if rest, ok := within(dir, image); ok && (rest == "" || rest == "bin") {
			dirs = append(dirs, filepath.Join(own, rest))
		}
	}
	return dirs
}

// within reports whether a path is a directory or lies below it, and where.
func within(path, dir string) (rest string, ok bool) {
	path, dir = filepath.Clean(path), filepath.Clean(dir)
	if path == dir {
		return "", true
	}
	if dir != "/" {
		dir += "/"
	}
	return strings.CutPrefix(path, dir)
}

// homesOf returns the homes of root and of a passwd's users, who have uids from 1000 on. Those of services, such as
// /var/lib/x and /usr/sbin, are no homes in this sense.
func homesOf(passwd string) []string {
	homes := []string{"/root"}
	text, _ := os.ReadFile(passwd)
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 6 {
			continue
		}
		uid, err := strconv.Atoi(fields[2])
		if home := filepath.Clean(fields[5]); err == nil && uid >= 1000 && filepath.IsAbs(home) && home != "/" {
			homes = append(homes, home)
		}
	}
	return homes
}
