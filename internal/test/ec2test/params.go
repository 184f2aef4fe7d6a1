package ec2test

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params reads the parameters of a call. It remembers the first malformed parameter and the ones that were read, so
// that done finds those that were not read. The server ignores nothing that a client sends.
type params struct {
	form   url.Values
	prefix string // of a structure in a list, e.g. "Filter.1."
	*paramState
}

type paramState struct {
	used map[string]bool
	err  *apiError
}

func newParams(form url.Values) params {
	return params{form, "", &paramState{used: map[string]bool{"Action": true, "Version": true}}}
}

// fail keeps the first error.
func (p params) fail(err *apiError) {
	if p.err == nil {
		p.err = err
	}
}

// done returns the error of the first malformed parameter, or else of one that was not read.
func (p params) done() error {
	if p.err != nil {
		return p.err
	}
	for _, name := range slices.Sorted(maps.Keys(p.form)) {
		if !p.used[name] {
			return fail("UnknownParameter", "The parameter %s is not recognized", name)
		}
	}
	return nil
}

// dry returns the error of a call that would succeed.
func (p params) dry() error {
	if p.boolean("DryRun", false) {
		return errDryRun
	}
	return nil
}

func (p params) has(name string) bool { return p.form.Has(p.prefix + name) }

func (p params) str(name string) string {
	name = p.prefix + name
	p.used[name] = true
	if len(p.form[name]) > 1 {
		p.fail(fail("MalformedQueryString", "The parameter %s is there more than once", name))
	}
	return p.form.Get(name)
}

func (p params) required(name string) string {
	value := p.str(name)
	if value == "" {
		p.fail(fail("MissingParameter", "The request must contain the parameter %s", p.prefix+name))
	}
	return value
}

// integer returns a number from lo to hi, or standard if the parameter is missing.
func (p params) integer(name string, standard, lo, hi int) int {
	text := p.str(name)
	if !p.has(name) {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		p.fail(invalid(p.prefix+name, text, "Expecting a value between "+strconv.Itoa(lo)+" and "+strconv.Itoa(hi)+"."))
	}
	return n
}

func (p params) boolean(name string, standard bool) bool {
	switch text := p.str(name); {
	case !p.has(name):
		return standard
	case text == "true", text == "false":
		return text == "true"
	default:
		p.fail(invalid(p.prefix+name, text, "Expecting true or false."))
		return false
	}
}

// oneOf returns a parameter with one of some values. The first is the default.
func (p params) oneOf(name string, values ...string) string {
	text := p.str(name)
	if !p.has(name) {
		return values[0]
	}
	if text == "" || !slices.Contains(values, text) {
		p.fail(invalid(p.prefix+name, text, "Expecting one of "+strings.Join(values, ", ")+"."))
	}
	return text
}

// list returns the values of name.1, name.2, ….
func (p params) list(name string) []string {
	var values []string
	for n := 1; p.has(name + "." + strconv.Itoa(n)); n++ {
		values = append(values, p.str(name+"."+strconv.Itoa(n)))
	}
	return values
}

// each returns the structures name.1., name.2., ….
func (p params) each(name string) []params {
	var all []params
	for n := 1; ; n++ {
		sub := p
		sub.prefix = p.prefix + name + "." + strconv.Itoa(n) + "."
		there := false
		for key := range p.form {
			there = there || strings.HasPrefix(key, sub.prefix)
		}
		if !there {
			return all
		}
		all = append(all, sub)
	}
}
