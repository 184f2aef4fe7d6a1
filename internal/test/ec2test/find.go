package ec2test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

// describe has the parameters that all Describe calls have in common.
type describe struct {
	ids     []string
	filters []filter
	limit   int // MaxResults, 0 = none
	next    string
	request string // a hash of the call that a NextToken belongs to
	now     time.Time
	lag     time.Duration // of tags
}

type filter struct {
	name   string
	values []*regexp.Regexp
}

// maxFilterValues is the most values that the filters of one call may have.
const maxFilterValues = 200

// readDescribe reads the IDs in a parameter, the filters, and the wanted page.
func (s *Server) readDescribe(p params, now time.Time, ids string, most int) describe {
	d := describe{now: now, lag: s.opts.TagLag, ids: p.list(ids), limit: p.integer("MaxResults", 0, 5, most), next: p.str("NextToken")}
	p.boolean("DryRun", false)
	values := 0
	for _, f := range p.each("Filter") {
		one := filter{name: f.required("Name")}
		texts := f.list("Value")
		if len(texts) == 0 {
			f.fail(fail("InvalidParameterValue", "The filter '%s' has no values", one.name))
		}
		for _, text := range texts {
			one.values = append(one.values, pattern(text))
		}
		values += len(texts)
		d.filters = append(d.filters, one)
	}
	switch {
	case values > maxFilterValues:
		p.fail(fail("FilterLimitExceeded", "The maximum number of filter values specified on a single call is %d", maxFilterValues))
	case len(d.ids) > 0 && p.has("MaxResults"):
		p.fail(combination("The parameter %sSet cannot be used with the parameter maxResults", strings.ToLower(strings.TrimSuffix(ids, "Id"))+"s"))
	}
	form := make(map[string][]string)
	for name, v := range p.form {
		if name != "MaxResults" && name != "NextToken" && name != "DryRun" {
			form[name] = v
		}
	}
	text, _ := json.Marshal(form) // in the order of keys
	sum := sha256.Sum256(text)
	d.request = base64.RawURLEncoding.EncodeToString(sum[:9])
	return d
}

// pattern is a filter's value. In it, * stands for any text and ? for one character.
func pattern(text string) *regexp.Regexp {
	expr := regexp.QuoteMeta(text)
	expr = strings.ReplaceAll(expr, `\*`, `.*`)
	expr = strings.ReplaceAll(expr, `\?`, `.`)
	return regexp.MustCompile(`(?s)\A` + expr + `\z`)
}

func (f filter) matches(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		return slices.ContainsFunc(f.values, func(r *regexp.Regexp) bool { return r.MatchString(v) })
	})
}

// kind says how things of a kind are found.
type kind[T any] struct {
	code, prefix, name string // of errors, IDs, and in words: "InvalidInstanceID", "i", "instance"
	id                 func(T) string
	attributes         map[string]func(T) string // by the names of filters
	tags               func(T) tags              // if it can have some
	missing            func(ids []string) error  // if it is not EC2's usual error
}

// attribute returns the function that gets the values for a filter, or nil if there is no such filter.
func (k kind[T]) attribute(d describe, name string) func(T) []string {
	if get := k.attributes[name]; get != nil {
		return func(t T) []string { return []string{get(t)} }
	}
	if k.tags == nil {
		return nil
	}
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(t T) []string { return k.tags(t).shown(d.now, d.lag).values(key) }
	}
	if name == "tag-key" {
		return func(t T) []string { return k.tags(t).shown(d.now, d.lag).keys() }
	}
	return nil
}

// find returns the page of things that a call asks for, in the order of their IDs, and the token of the next page. all
// is in that order. One unknown ID makes the call fail.
func find[T any](d describe, all []T, k kind[T]) (page []T, next string, err error) {
	if k.prefix != "" {
		if err := checkIDs(k.code, k.prefix, d.ids); err != nil {
			return nil, "", err
		}
	}
	byID := make(map[string]bool, len(all))
	for _, t := range all {
		byID[k.id(t)] = true
	}
	missing := slices.DeleteFunc(slices.Clone(d.ids), func(id string) bool { return byID[id] })
	switch {
	case len(missing) > 0 && k.missing != nil:
		return nil, "", k.missing(missing)
	case len(missing) > 0:
		return nil, "", notFound(k.code, k.name, missing)
	}
	wanted := make([]func(T) bool, len(d.filters))
	for i, f := range d.filters {
		get := k.attribute(d, f.name)
		if get == nil {
			return nil, "", fail("InvalidParameterValue", "The filter '%s' is invalid", f.name)
		}
		wanted[i] = func(t T) bool { return f.matches(get(t)) }
	}
	last, err := d.last()
	if err != nil {
		return nil, "", err
	}
	for _, t := range all {
		id := k.id(t)
		refused := func(want func(T) bool) bool { return !want(t) }
		if id <= last || len(d.ids) > 0 && !slices.Contains(d.ids, id) || slices.ContainsFunc(wanted, refused) {
			continue
		}
		if d.limit > 0 && len(page) == d.limit {
			token := d.request + " " + k.id(page[len(page)-1])
			return page, base64.StdEncoding.EncodeToString([]byte(token)), nil
		}
		page = append(page, t)
	}
	return page, "", nil
}

// last is the ID after which the page begins. A token is valid only for the call that it belongs to.
func (d describe) last() (string, error) {
	if d.next == "" {
		return "", nil
	}
	text, err := base64.StdEncoding.DecodeString(d.next)
	request, last, ok := strings.Cut(string(text), " ")
	if err != nil || !ok || request != d.request {
		return "", fail("InvalidNextToken", "The specified NextToken is not valid.")
	}
	return last, nil
}
