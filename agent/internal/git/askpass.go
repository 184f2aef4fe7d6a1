package git

import (
	"bufio"
	"io"
	"net/url"
	"strings"
)

// The environment in which git calls this program for a credential. It is the credential's only way to git:
// arguments are visible to all, an environment to its own uid and to root.
const (
	EnvAskpass  = "BERTH_ASKPASS" // the URL that the credential is for
	EnvUsername = "BERTH_ASKPASS_USERNAME"
	EnvPassword = "BERTH_ASKPASS_PASSWORD"
	EnvMirror   = "BERTH_ASKPASS_MIRROR" // of the privacy.Mark that is to be set before the answer
	EnvLock     = "BERTH_ASKPASS_LOCK"
)

// Helper is the argument with which git calls this program as its credential helper, when it needs a credential. Git puts its
// question on the helper's standard input. A program of GIT_ASKPASS would get it as an argument, which all can see, and with it
// the user, in whose place a token may stand.
const Helper = "get"

// Answer answers the question of a git that needs a credential, in the form that git reads: see gitcredentials(7). It answers
// for the URL's own host and scheme only: a redirect must not carry the credential away.
func Answer(question io.Reader, getenv func(string) string) (string, bool) {
	meant, err := url.Parse(getenv(EnvAskpass))
	if err != nil {
		return "", false
	}
	var scheme, host string
	for lines := bufio.NewScanner(question); lines.Scan() && lines.Text() != ""; {
		switch name, value, _ := strings.Cut(lines.Text(), "="); name {
		case "protocol":
			scheme = value
		case "host":
			host = value
		}
	}
	user, password := getenv(EnvUsername), getenv(EnvPassword)
	if scheme != meant.Scheme || !strings.EqualFold(host, meant.Host) || strings.ContainsAny(user+password, "\n\x00") {
		return "", false
	}
	return "username=" + user + "\npassword=" + password + "\n", true
}
