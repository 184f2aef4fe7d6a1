package rows

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// merge adds to the JSON of a value of type t the members of before that t does not know: those of structs within it
// too, and of those in a list which have the same name.
func merge(t reflect.Type, now, before json.RawMessage) (json.RawMessage, error) {
	switch {
	case t.Kind() == reflect.Struct && !hasOwnText(t):
		return mergeStruct(t, now, before)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !hasOwnText(t.Elem()):
		return mergeList(t.Elem(), now, before)
	}
	return now, nil
}

func mergeStruct(t reflect.Type, now, before json.RawMessage) (json.RawMessage, error) {
	var have, had map[string]json.RawMessage
	if err := json.Unmarshal(before, &had); err != nil {
		return nil, err
	}
	if now != nil {
		if err := json.Unmarshal(now, &have); err != nil {
			return nil, err
		}
	} else {
		have = map[string]json.RawMessage{} // it is zero
	}
	for name, value := range had {
		field, known := t.FieldByNameFunc(func(f string) bool { return strings.EqualFold(f, name) })
		switch {
		case !known:
			have[name] = value
		default:
			merged, err := merge(field.Type, have[field.Name], value)
			if err != nil {
				return nil, err
			}
			if merged != nil {
				have[field.Name] = merged
			}
		}
	}
	if now == nil && len(have) == 0 {
		return nil, nil
	}
	return json.Marshal(have)
}

// mergeList merges the elements of equal Name. An element that is no longer in the list is dropped with all its members.
func mergeList(elem reflect.Type, now, before json.RawMessage) (json.RawMessage, error) {
	if _, named := elem.FieldByName("Name"); !named || now == nil {
		return now, nil
	}
	var have, had []json.RawMessage
	if err := json.Unmarshal(now, &have); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(before, &had); err != nil {
		return nil, err
	}
	byName := map[string]json.RawMessage{}
	for _, e := range had {
		byName[nameOf(e)] = e
	}
	for i, e := range have {
		if was, ok := byName[nameOf(e)]; ok {
			merged, err := merge(elem, e, was)
			if err != nil {
				return nil, err
			}
			have[i] = merged
		}
	}
	return json.Marshal(have)
}

func nameOf(e json.RawMessage) string {
	var named struct{ Name string }
	_ = json.Unmarshal(e, &named) // it was read before
	return named.Name
}

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

func hasOwnText(t reflect.Type) bool {
	return t.Implements(textMarshaler) || t.Implements(jsonMarshaler)
}
