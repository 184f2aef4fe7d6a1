package git

import (
	"net/url"
	"strings"
)

// The environment in which git calls this program to ask for a credential. It is the credential's only way to git:
// arguments are visible to all, an environment to its own uid and to root.
const (
	EnvAskpass  = "BERTH_ASKPASS" // the URL that the credential is for
	EnvUsername = "BERTH_ASKPASS_USERNAME"
	EnvPassword = "BERTH_ASKPASS_PASSWORD"
)

// Answer answers git's question, which reads "Username for 'https://host': " or "Password for 'https://me@host': ".
// It answers for the URL's own host and scheme only: a redirect must not carry the credential away.
func Answer(question string, getenv func(string) string) (string, bool) {
	what, rest, _ := strings.Cut(question, " for '")
	where, _, ok := strings.Cut(rest, "'")
	if !ok {
		return "", false
	}
	asked, err := url.Parse(where)
	if err != nil {
		return "", false
	}
	meant, err := url.Parse(getenv(EnvAskpass))
	if err != nil || asked.Scheme != meant.Scheme || !strings.EqualFold(asked.Host, meant.Host) {
		return "", false
	}
	var answer string
	switch what {
	case "Username":
		answer = getenv(EnvUsername)
	case "Password":
		answer = getenv(EnvPassword)
	}
	return answer, answer != ""
}
