package git

import (
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	const url = "http://host.xz:8080/o/r"
	for _, c := range []struct {
		question, user, password, answer string
	}{
		{"protocol=http\nhost=host.xz:8080\n\n", "ann", "s3cret", "username=ann\npassword=s3cret\n"},
		{"protocol=http\nhost=HOST.xz:8080\nwwwauth[]=Basic realm=\"x\"\n", "ann", "s=3", "username=ann\npassword=s=3\n"},
		{"capability[]=authtype\nprotocol=http\nhost=host.xz:8080\n\n", "token", "", "username=token\npassword=\n"},
		{"protocol=http\nhost=host.xz:8080\n\n", "", "s3cret", "username=\npassword=s3cret\n"},
		{"protocol=http\nhost=host.xz:8080\n\n", "ann", "s3cret\nquit=1", ""},
		{"protocol=https\nhost=host.xz:8080\n\n", "ann", "s3cret", ""},
		{"protocol=http\nhost=other.xz:8080\n\n", "ann", "s3cret", ""},
		{"protocol=http\n\nhost=host.xz:8080\n", "ann", "s3cret", ""},
		{"", "ann", "s3cret", ""},
	} {
		env := map[string]string{EnvAskpass: url, EnvUsername: c.user, EnvPassword: c.password}
		answer, ok := Answer(strings.NewReader(c.question), func(name string) string { return env[name] })
		if answer != c.answer || ok != (c.answer != "") {
			t.Errorf("%q: %q, %v", c.question, answer, ok)
		}
	}
}
