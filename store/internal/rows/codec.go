package rows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/berth-go/berth/store"
)

// ErrNewerRecord says that a record has a form that this version cannot read.
var ErrNewerRecord = errors.New("a newer version of berth wrote this record: upgrade")

// version is the member of a body that says how the body is written. A body without it has version 1, the only one so far. It
// has one member, under the field's name, for each field that is neither zero nor empty. New fields need no new version.
type version struct {
	V int `json:"_v"`
}

// shape is how the records of one kind are written.
type shape struct {
	record reflect.Type // store.Session
	body   reflect.Type // the same fields, each left out when it is zero or empty
}

var shapes = map[store.Kind]shape{}

func init() {
	for _, r := range []store.Record{
		&store.Pool{}, &store.Instance{}, &store.Sharing{}, &store.Container{}, &store.Session{}, &store.Task{},
		&store.Lease{}, &store.Mirrors{}, &store.User{}, &store.Usage{}, &store.Ledger{}, &store.Warmth{}, &store.Demand{},
	} {
		record := reflect.TypeOf(r).Elem()
		fields := reflect.VisibleFields(record)
		for i := range fields {
			fields[i].Tag = reflect.StructTag(fmt.Sprintf(`json:"%s,omitempty,omitzero"`, fields[i].Name))
		}
		body := reflect.StructOf(fields)
		if !record.ConvertibleTo(body) { // tags apart they are the same, so that one can be taken for the other
			panic(fmt.Sprintf("%s has a field that a store cannot write", record))
		}
		shapes[r.Key().Kind] = shape{record, body}
	}
}

// Storable reports whether r is of a type that a store knows where to keep.
func Storable(r store.Record) bool {
	v := reflect.ValueOf(r)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return false
	}
	return shapes[r.Key().Kind].record == v.Type().Elem()
}

// Encode returns a record's body. It may change r: times are cut to the microsecond. before is the body that it
// replaces, as [Decode] returned it, or nil.
func Encode(r store.Record, before Unknown) ([]byte, error) {
	if key := r.Key(); !utf8.ValidString(key.ID) {
		return nil, fmt.Errorf("%s cannot be written: its ID is not UTF-8", key.Kind)
	}
	s := shapes[r.Key().Kind]
	v := reflect.ValueOf(r)
	cutTimes(v.Elem())
	body, err := json.Marshal(reflect.NewAt(s.body, v.UnsafePointer()).Interface())
	if err == nil && before != nil {
		body, err = merge(s.body, body, json.RawMessage(before))
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be written: %w", r.Key(), err)
	}
	return body, nil
}

// Unknown is a body that has members which this version does not know.
type Unknown []byte

// Decode returns the record of a body. unknown is not nil if the body has members that the record has no field for.
func Decode(key store.Key, body []byte) (r store.Record, unknown Unknown, err error) {
	s, ok := shapes[key.Kind]
	if !ok {
		return nil, nil, fmt.Errorf("%s: %w", key, ErrNewerRecord)
	}
	v := reflect.New(s.body)
	known := json.NewDecoder(bytes.NewReader(body))
	known.DisallowUnknownFields()
	if known.Decode(v.Interface()) != nil || known.InputOffset() != int64(len(body)) {
		v = reflect.New(s.body)
		var says version
		if err := json.Unmarshal(body, &says); err != nil {
			return nil, nil, fmt.Errorf("%s cannot be read: %w", key, err)
		}
		if says.V > 1 {
			return nil, nil, fmt.Errorf("%s: %w", key, ErrNewerRecord)
		}
		if err := json.Unmarshal(body, v.Interface()); err != nil {
			return nil, nil, fmt.Errorf("%s cannot be read: %w", key, err)
		}
		unknown = body
	}
	r = reflect.NewAt(s.record, v.UnsafePointer()).Interface().(store.Record)
	if r.Key() != key {
		return nil, nil, fmt.Errorf("%s cannot be read: it says that it is %s", key, r.Key())
	}
	return r, unknown, nil
}

var timeType = reflect.TypeFor[time.Time]()

// cutTimes makes every time in v one that is read back as it is: in UTC, to the microsecond.
func cutTimes(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == timeType {
			if t := v.Interface().(time.Time); !t.IsZero() {
				v.Set(reflect.ValueOf(t.UTC().Truncate(time.Microsecond)))
			}
			return
		}
		for i := range v.NumField() {
			if hasTimes(v.Type().Field(i).Type) {
				cutTimes(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			cutTimes(v.Index(i))
		}
	}
}

func hasTimes(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		if t == timeType {
			return true
		}
		for i := range t.NumField() {
			if hasTimes(t.Field(i).Type) {
				return true
			}
		}
	case reflect.Slice:
		return hasTimes(t.Elem())
	}
	return false
}
