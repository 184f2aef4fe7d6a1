package ec2test

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of AWS.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

type tag struct {
	Key   string    `xml:"key"`
	Value string    `xml:"value"`
	since time.Time // when it was made or changed
}

// tags are the tags of one thing, in the order in which they were added.
type tags []tag

// shown returns the tags that are old enough to be shown.
func (t tags) shown(now time.Time, lag time.Duration) tags {
	return slices.DeleteFunc(slices.Clone(t), func(one tag) bool { return now.Before(one.since.Add(lag)) })
}

func (t tags) keys() []string {
	keys := make([]string, len(t))
	for i, one := range t {
		keys[i] = one.Key
	}
	return keys
}

// values returns the value of a key, or none.
func (t tags) values(key string) []string {
	for _, one := range t {
		if one.Key == key {
			return []string{one.Value}
		}
	}
	return nil
}

// with returns the tags with others added or changed.
func (t tags) with(others tags, now time.Time) tags {
	t = slices.Clone(t)
	for _, o := range others {
		o.since = now
		if i := slices.IndexFunc(t, func(one tag) bool { return one.Key == o.Key }); i >= 0 {
			t[i] = o
		} else {
			t = append(t, o)
		}
	}
	return t
}

// asMap returns the tags as a map, for tests.
func (t tags) asMap() map[string]string {
	m := make(map[string]string, len(t))
	for _, one := range t {
		m[one.Key] = one.Value
	}
	return m
}

// readTags reads and checks a list of tags.
func readTags(p params) tags {
	var all tags
	for _, sub := range p.each("Tag") {
		one := tag{Key: sub.str("Key"), Value: sub.str("Value")}
		switch {
		case one.Key == "":
			p.fail(invalid(sub.prefix+"Key", one.Key, "Tag keys may not be empty."))
		case strings.HasPrefix(strings.ToLower(one.Key), "aws:"):
			p.fail(fail("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use"))
		case utf8.RuneCountInString(one.Key) > maxTagKey:
			p.fail(fail("InvalidParameterValue", "Tag key exceeds the maximum length of %d characters", maxTagKey))
		case utf8.RuneCountInString(one.Value) > maxTagValue:
			p.fail(fail("InvalidParameterValue", "Tag value exceeds the maximum length of %d characters", maxTagValue))
		case slices.Contains(all.keys(), one.Key):
			p.fail(fail("InvalidParameterValue", "Duplicate tag key '%s' specified.", one.Key))
		}
		all = append(all, one)
	}
	if len(all) > maxTags {
		p.fail(fail("TagLimitExceeded", "The maximum number of Tags for a resource has been reached."))
	}
	return all
}

type done struct {
	head
	Return bool `xml:"return"`
}

func (s *Server) createTags(p params, now time.Time) (any, error) {
	ids, added := p.list("ResourceId"), readTags(p)
	if len(ids) == 0 || len(added) == 0 {
		p.fail(fail("MissingParameter", "The request must contain resource IDs and tags"))
	}
	dry := p.dry()
	if err := p.done(); err != nil {
		return nil, err
	}
	sets := make([]*tags, len(ids))
	for i, id := range ids {
		set, err := s.tagged(id, now)
		if err != nil {
			return nil, err
		}
		if len(set.with(added, now)) > maxTags {
			return nil, fail("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
		sets[i] = set
	}
	if dry != nil {
		return nil, dry
	}
	for _, set := range sets {
		*set = set.with(added, now)
	}
	return &done{Return: true}, nil
}

// tagged returns the tags of the thing with an ID.
func (s *Server) tagged(id string, now time.Time) (*tags, error) {
	prefix, _, _ := strings.Cut(id, "-")
	var set *tags
	switch prefix {
	case "i":
		found, err := s.named([]string{id}, now)
		if err != nil {
			return nil, err
		}
		return &found[0].tags, nil
	case "vol":
		for _, v := range s.volumes {
			if v.id == id {
				set = &v.tags
			}
		}
	case "eni":
		for _, c := range s.cards {
			if c.id == id {
				set = &c.tags
			}
		}
	case "sir":
		for _, r := range s.spots {
			if r.id == id {
				set = &r.tags
			}
		}
	}
	if set == nil {
		return nil, fail("InvalidID", "The ID '%s' is not valid", id)
	}
	return set, nil
}
