// Package leak finds what is a session's own in files that other sessions are to get: values of its environment, its credentials, and the
// files of its home that hold settings.
//
// It looks for what was left by mistake. A session that wants to hide a value, by an encryption of its own for example, can. What is
// compressed is not looked into.
package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// The bounds of what is looked for.
const (
	MinValue = 8       // bytes of a value; a shorter one is in any file by chance
	maxValue = 1 << 10 // bytes of it that are compared
	minLine  = 16      // bytes of a line of a value
)

// Values are what no file may have. The zero value has none. It is not safe for concurrent use.
type Values struct {
	byHead map[uint64][]value
	heads  [1 << 10]uint64 // bits: which hashes of heads there are
}

// A value is one form of what is looked for.
type value struct {
	text []byte
	what string
}

// Add adds a value. what names it in an answer: "the variable TOKEN". It is looked for as it is, in base64, with the escapes of a URL and
// with those of JSON. Of a value of several lines, each line of 16 bytes or more is looked for, too. A value of less than MinValue bytes is not.
func (v *Values) Add(what, text string) {
	text = strings.TrimSpace(text)
	v.add(what, text)
	if strings.Contains(text, "\n") {
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
				v.add(what, line)
			}
		}
	}
}

func (v *Values) add(what, text string) {
	if len(text) < MinValue {
		return
	}
	forms := []string{text, url.QueryEscape(text), url.PathEscape(text)}
	if quoted, err := json.Marshal(text); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // where it begins in a group of three bytes that others may share
			encoded := encoding.EncodeToString(append(make([]byte, before), text...))
			whole := (before + len(text)) * 8 / 6
			forms = append(forms, encoded[(before*8+5)/6:whole])
		}
	}
	for i, form := range forms {
		if i == 0 || form != text {
			v.addForm(what, form)
		}
	}
}

func (v *Values) addForm(what, form string) {
	text := []byte(form[:min(len(form), maxValue)])
	head := binary.LittleEndian.Uint64(text)
	if v.byHead == nil {
		v.byHead = make(map[uint64][]value)
	}
	v.byHead[head] = append(v.byHead[head], value{text, what})
	h := hash(head)
	v.heads[h/64] |= 1 << (h % 64)
}

// hash returns 16 bits of the first bytes of a value.
func hash(head uint64) uint64 { return head * 0x9E3779B97F4A7C15 >> 48 }

// AddFile adds the content of a file with settings: all of it, and, if the name is that of credentials, each word in it that looks like one.
func (v *Values) AddFile(what, name string, content []byte) {
	v.add(what, strings.TrimSpace(string(content)))
	if !CredentialFile(name) {
		return
	}
	words := strings.FieldsFunc(string(content), func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"':=@,;`, r) })
	for _, word := range words {
		if len(word) >= minLine && strings.ContainsAny(word, "0123456789") && strings.IndexFunc(word, unicode.IsLetter) >= 0 {
			v.add(what, word)
		}
	}
}

// In returns which value a text has; "" = none.
func (v *Values) In(text string) string { return v.in([]byte(text)) }

func (v *Values) in(b []byte) string {
	if len(v.byHead) == 0 {
		return ""
	}
	for i := 0; i+MinValue <= len(b); i++ {
		head := binary.LittleEndian.Uint64(b[i:])
		if h := hash(head); v.heads[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, one := range v.byHead[head] {
			if bytes.HasPrefix(b[i:], one.text) {
				return one.what
			}
		}
	}
	return ""
}

// Find reads to the end, and returns which value was found; "" = none. buf is used meanwhile, and is larger than 64 KiB.
func (v *Values) Find(r io.Reader, buf []byte) (what string, err error) {
	if len(v.byHead) == 0 {
		return "", nil
	}
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		if what := v.in(buf[:kept+n]); what != "" {
			return what, nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		kept = copy(buf, buf[len(buf)-maxValue:]) // one that begins here may go on
	}
}

// MaxHomeFile bounds the files of a home that are looked at, in bytes, and MostHomeFiles their number in a directory.
const (
	MaxHomeFile   = 16 << 10
	MostHomeFiles = 200
)

// HomeDirs returns the directories of a home in which files hold settings.
func HomeDirs() []string {
	return []string{
		".", ".ssh", ".aws", ".azure", ".docker", ".kube", ".gnupg", ".config", ".config/gh", ".config/git", ".config/gcloud", ".config/pip",
		".config/containers", ".m2", ".gradle", ".cargo", ".gem", ".bundle", ".composer", ".nuget/NuGet", ".pip",
	}
}

// CredentialFile reports whether a file's name says that it holds credentials. The name is a path, whose last elements decide.
func CredentialFile(name string) bool {
	name = "/" + name
	for _, end := range credentialFiles {
		if strings.HasSuffix(name, "/"+end) {
			return true
		}
	}
	return false
}

var credentialFiles = []string{
	".netrc", "_netrc", ".git-credentials", ".npmrc", ".yarnrc.yml", ".pypirc", ".pgpass", ".my.cnf", ".env", ".env.local",
	".aws/credentials", ".azure/accessTokens.json", ".docker/config.json", ".dockercfg", ".kube/config", ".config/gh/hosts.yml", ".config/git/credentials",
	".config/containers/auth.json", ".config/gcloud/application_default_credentials.json", ".m2/settings.xml", ".cargo/credentials", ".cargo/credentials.toml",
	".gem/credentials", ".composer/auth.json", ".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519",
}

// Given are the values that a session was given while it ran. The zero value has none. It is bounded: Whole reports whether it has all.
type Given struct {
	byText map[string]string // what each is
	bytes  int
	lost   bool
}

// maxGiven bounds the bytes of all values.
const maxGiven = 256 << 10

// Add remembers a value.
func (g *Given) Add(what, text string) {
	if _, known := g.byText[text]; known || len(text) < MinValue {
		return
	}
	if g.bytes += len(text); g.bytes > maxGiven {
		g.lost, g.bytes = true, math.MaxInt32
		return
	}
	if g.byText == nil {
		g.byText = make(map[string]string)
	}
	g.byText[strings.Clone(text)] = what
}

// AddEnv remembers the values of an environment.
func (g *Given) AddEnv(env []string) {
	for _, pair := range env {
		if name, text, ok := strings.Cut(pair, "="); ok {
			g.Add("the value of "+name, text)
		}
	}
}

// Whole reports whether all values are known.
func (g *Given) Whole() bool { return !g.lost }

// AddTo adds the values to those that are looked for, but for those that are anybody's.
func (g *Given) AddTo(v *Values, common map[string]bool) {
	for _, text := range slices.Sorted(maps.Keys(g.byText)) {
		what := g.byText[text]
		if common[text] {
			continue
		}
		v.Add(what, text)
		if u, err := url.Parse(text); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				v.Add("the password in "+what, password)
			}
		}
	}
}
