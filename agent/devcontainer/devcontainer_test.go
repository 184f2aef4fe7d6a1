package devcontainer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ text, run, env, unsupported string }{
		"empty":    {`{}`, "[]", "[]", "[]"},
		"comments": {"// c\n{ /* x */ \"onCreateCommand\": \"a // b\", // \"x\": 1,\n \"name\": \"/*\", }", "[[sh -c a // b]]", "[]", "[]"},
		"forms": {`{"updateContentCommand": {"b": ["npm", "ci"], "a": "x"}, "onCreateCommand": ["make"]}`,
			"[[make] [sh -c x] [npm ci]]", "[]", "[]"},
		"variables": {`{"remoteEnv": {"B": "2", "PATH": "/x", "C": "${localEnv:C}"}, "containerEnv": {"A": "1", "a b": ""}}`,
			"[]", "[A=1 B=2]", "[containerEnv.a?b remoteEnv.C remoteEnv.PATH]"},
		"others": {`{"image": "x", "mounts": [], "privileged": true, "runArgs": ["--privileged"], "$schema": "x"}`,
			"[]", "[]", "[image mounts privileged runArgs]"},
		"wrong types": {`{"onCreateCommand": 5, "updateContentCommand": {"a": {"b": "c"}}, "containerEnv": [1], "remoteEnv": {"A": null}}`,
			"[]", "[A=]", "[onCreateCommand updateContentCommand containerEnv]"},
		"NUL": {`{"onCreateCommand": ["a\u0000"], "containerEnv": {"A": "\u0000"}}`, "[]", "[]", "[onCreateCommand containerEnv.A]"},
	} {
		f, err := Parse([]byte(c.text))
		if err != nil || fmt.Sprint(f.Run) != c.run || fmt.Sprint(f.Env) != c.env || fmt.Sprint(f.Unsupported) != c.unsupported {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	many := strings.Repeat(`"a",`, 40)
	for _, text := range []string{
		"", "[]", "{", `{"a": "`, "/*", strings.Repeat(" ", MaxBytes+1), strings.Repeat("[", 60_000),
		`{"onCreateCommand": {` + numbered(many) + `}}`,
	} {
		if f, err := Parse([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q gives %v, %v", text, f, err)
		}
	}
}

// numbered gives the elements of a list names.
func numbered(list string) string {
	var parts []string
	for i, one := range strings.Split(strings.Trim(list, ","), ",") {
		parts = append(parts, fmt.Sprintf(`"n%d": %s`, i, one))
	}
	return strings.Join(parts, ",")
}

// FuzzParse: a file may be anything. What is supported of it has no NUL, and is bounded.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"onCreateCommand": "a", /* x */ "remoteEnv": {"A": "b"},}`))
	f.Add([]byte(`{"a":"\`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(text)
		if err != nil {
			return
		}
		if len(file.Run) > maxCommands || len(file.Env) > maxEnv || len(file.Unsupported) > maxNamed+1 {
			t.Error("it is not bounded")
		}
		if strings.ContainsRune(fmt.Sprint(file), 0) {
			t.Error("it has a NUL")
		}
	})
}
