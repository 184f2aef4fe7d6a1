package leak

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func find(t *testing.T, v *Values, text string) string {
	t.Helper()
	what, err := v.Find(strings.NewReader(text), make([]byte, 64<<10+1))
	if err != nil {
		t.Fatal(err)
	}
	return what
}

func TestValuesAreFoundInAnyForm(t *testing.T) {
	const secret = `s3cr3t/"token"+of me`
	var v Values
	v.Add("TOKEN", secret)
	v.Add("SHORT", "1234567")
	v.Add("KEY", "-----BEGIN KEY-----\nabcdefghijklmnopqrstuv\n-----END KEY-----\n")
	for name, text := range map[string]string{
		"itself": secret, "url": url.QueryEscape(secret), "path": url.PathEscape(secret), "json": `s3cr3t/\"token\"+of me`,
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "basic": base64.URLEncoding.EncodeToString([]byte("me:" + secret + "\n")),
		"shifted": base64.StdEncoding.EncodeToString([]byte("x" + secret)),
	} {
		if got := find(t, &v, "before "+text+" after"); got != "TOKEN" {
			t.Errorf("%s: Find returns %q", name, got)
		}
		if got := v.In("dir/" + text); got != "TOKEN" {
			t.Errorf("%s: In returns %q", name, got)
		}
	}
	if got := find(t, &v, "a line: abcdefghijklmnopqrstuv"); got != "KEY" {
		t.Errorf("a line of a key is %q", got)
	}
	for _, text := range []string{"1234567", "s3cr3t", "-----BEGIN KEY-----", ""} {
		if got := find(t, &v, text); got != "" {
			t.Errorf("%q has %q", text, got)
		}
	}
}

func TestValuesAreFoundAtTheEdgesOfABuffer(t *testing.T) {
	var v Values
	long := strings.Repeat("0123456789abcdef", 100)
	v.Add("LONG", long)
	v.Add("TOKEN", "the-secret")
	size := 64<<10 + 1
	for at := size - 20; at < size+20; at++ {
		if got := find(t, &v, strings.Repeat("x", at)+"the-secret"); got != "TOKEN" {
			t.Fatalf("at %d: %q", at, got)
		}
		if got := find(t, &v, strings.Repeat("x", at)+long+"y"); got != "LONG" {
			t.Fatalf("at %d: %q", at, got)
		}
	}
}

func TestFilesOfAHome(t *testing.T) {
	var v Values
	v.AddFile("~/.netrc", ".netrc", []byte("machine example.com login me password 0a1b2c3d4e5f6a7b8c\n"))
	v.AddFile("~/.bashrc", ".bashrc", []byte("export PATH=/opt/bin0123456789abc:$PATH\nset -o vi\n"))
	for text, want := range map[string]string{
		"token: 0a1b2c3d4e5f6a7b8c": "~/.netrc", "/opt/bin0123456789abc": "", "machine example.com": "",
		"export PATH=/opt/bin0123456789abc:$PATH\nset -o vi": "~/.bashrc",
	} {
		if got := find(t, &v, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for name, want := range map[string]bool{
		".netrc": true, "a/b/.npmrc": true, "x.netrc": false, ".aws/credentials": true, "credentials": false, "src/.env": true, ".env.example": false,
	} {
		if got := CredentialFile(name); got != want {
			t.Errorf("CredentialFile(%q) is %t", name, got)
		}
	}
}

func TestGiven(t *testing.T) {
	var g Given
	g.AddEnv([]string{"URL=https://me:pass-word@example.com", "MODE=production", "SHORT=1", "NONE"})
	var v Values
	g.AddTo(&v, map[string]bool{"production": true})
	for text, want := range map[string]string{"pass-word": "the password in the value of URL", "production": "", "https://me:pass-word@example.com": "the value of URL"} {
		if got := find(t, &v, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if !g.Whole() {
		t.Error("few values are not all known")
	}
	for n := range 20 {
		g.Add("x", string(bytes.Repeat([]byte{byte('a' + n)}, 100<<10)))
	}
	if g.Whole() {
		t.Error("2 MB of values are all known")
	}
}
