package git

import (
	"slices"
	"strings"
)

// settings hold for every git that the agent runs. They win over the image's own configuration.
var settings = []string{
	// Programs that a repository or an image could name.
	"core.hooksPath=/dev/null", "core.fsmonitor=false",
	// No transport, unless transports adds one.
	"protocol.allow=never", "protocol.ext.allow=never", "protocol.file.allow=never", "protocol.fd.allow=never",
	// No repository besides the one that was asked for.
	"submodule.recurse=false", "fetch.recurseSubmodules=false", "transfer.bundleURI=false",
	// Names that become .git on a file system that folds case or ignores characters, such as .GIT, git~1 and ".g\u200cit".
	"core.protectHFS=true", "core.protectNTFS=true",
	// Larger files are written as they come, instead of being held in memory. Git's own default is 512 MiB.
	"core.bigFileThreshold=32m",
}

// Objects are checked as they come: names such as "..", ".git" and "a/b", submodules with names, URLs and paths that harm old
// gits, and the form of every object. fsckIgnored are the faults that occur in the histories of real repositories, which
// cannot be changed any more. All are in the line of an author or in the spelling of a file's mode, which git reads leniently.
// GitHub and GitLab accept them, too. Git 2.20 knows all of them; a git that does not know one warns of it.
var fsckIgnored = []string{
	"badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "zeroPaddedDate",
	"missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeDate", "missingSpaceBeforeEmail",
	"multipleAuthors", "badFilemode", "zeroPaddedFilemode",
}

// transports returns those that a remote's URL may use. HTTP may be redirected to HTTPS, and never the other way.
func transports(url string) []string {
	scheme, _, ok := strings.Cut(url, "://")
	switch scheme = strings.ToLower(scheme); {
	case url == "":
		return nil
	case !ok || scheme == "git+ssh" || scheme == "ssh+git": // user@host:path
		return []string{"ssh"}
	case scheme == "http":
		return []string{"http", "https"}
	case scheme == "https" || scheme == "ssh" || scheme == "git":
		return []string{scheme}
	}
	return nil // no file, no ext, no helper of the image's
}

// command returns git's arguments and its environment, with the settings that the job's remote allows.
func command(j Job) (args, env []string) {
	args = []string{"git"}
	set := func(setting string) { args = append(args, "-c", setting) }
	for _, s := range settings {
		set(s)
	}
	allowed := append(transports(j.URL), j.Also...)
	for _, transport := range allowed {
		set("protocol." + transport + ".allow=always")
	}
	if j.URL != "" {
		set("transfer.fsckObjects=true")
		set("fetch.fsckObjects=true")
		for _, fault := range fsckIgnored {
			set("fetch.fsck." + fault + "=ignore")
		}
	}
	// The variable overrides the settings, also those of a transport's own program.
	return append(args, j.Args...), append(slices.Clip(j.Env), "GIT_ALLOW_PROTOCOL="+strings.Join(allowed, ":"))
}
