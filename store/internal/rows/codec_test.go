package rows

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// drawInto sets every field of v, by reflection, so that a field which is added later is tried too.
func drawInto(t *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		if rapid.Bool().Draw(t, "has a time") {
			zone := time.FixedZone("", rapid.IntRange(-12*3600, 12*3600).Draw(t, "zone"))
			v.Set(reflect.ValueOf(time.Unix(0, rapid.Int64Range(-1e18, 7e18).Draw(t, "time")).In(zone)))
		}
		return
	case naming.Repository:
		v.Set(reflect.ValueOf(rapid.SampledFrom([]naming.Repository{
			{}, {Host: "git.example.com", Path: "team/app"}, {Host: "[::1]:8080", Path: "a/b/c"},
		}).Draw(t, "repository")))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.Struct:
		for i := range v.NumField() {
			drawInto(t, v.Field(i))
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			drawInto(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			drawInto(t, key)
			drawInto(t, value)
			v.SetMapIndex(key, value)
		}
	default:
		t.Fatalf("a record holds a %s, which is not plain data", v.Type())
	}
}

func drawRecord(t *rapid.T) store.Record {
	kind := store.Kind(rapid.IntRange(1, len(shapes)).Draw(t, "kind"))
	v := reflect.New(shapes[kind].record)
	drawInto(t, v.Elem())
	return v.Interface().(store.Record)
}

var asKept = cmp.Options{cmpopts.EquateApproxTime(time.Microsecond), cmpopts.EquateEmpty()}

func checkRoundTrip(t *rapid.T) {
	r := drawRecord(t)
	want := r.Clone()
	body, err := Encode(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, unknown, err := Decode(want.Key(), body)
	if err != nil {
		t.Fatal(err)
	}
	if unknown != nil {
		t.Errorf("%s has unknown members", body)
	}
	if diff := cmp.Diff(want, got, asKept); diff != "" {
		t.Errorf("%s\n%s", body, diff)
	}
	if !sameZeroTimes(reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()) {
		t.Errorf("%s: a time is zero before or after, not both", body)
	}
	if ColumnsOf(want) != ColumnsOf(got) {
		t.Errorf("%s: columns %+v, want %+v", body, ColumnsOf(got), ColumnsOf(want))
	}
}

func sameZeroTimes(a, b reflect.Value) bool {
	if at, ok := a.Interface().(time.Time); ok {
		return at.IsZero() == b.Interface().(time.Time).IsZero()
	}
	same := true
	if a.Kind() == reflect.Struct {
		for i := range a.NumField() {
			same = same && sameZeroTimes(a.Field(i), b.Field(i))
		}
	}
	return same
}

func TestRoundTrip(t *testing.T) { rapid.Check(t, checkRoundTrip) }

func FuzzRoundTrip(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkRoundTrip)) }

// FuzzDecode calls Decode with bodies that a table may hold after changes by hand.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(store.KindSession), "a", `{"ID":"a","End":{"Reason":"x","New":[1]}}`)
	f.Add(uint8(store.KindMirrors), "a", `{"Instance":"a","Entries":[{"Name":"x","New":{}},null]}`)
	f.Fuzz(func(t *testing.T, kind uint8, id, body string) {
		r, unknown, err := Decode(store.Key{Kind: store.Kind(kind), ID: id}, []byte(body))
		if err != nil {
			return
		}
		again, err := Encode(r.Clone(), unknown)
		if err != nil {
			return // such as a time beyond the year 9999
		}
		if _, _, err := Decode(r.Key(), again); err != nil {
			t.Errorf("%s was read and written as %s, which cannot be read: %v", body, again, err)
		}
	})
}

func TestUnknownMembersStay(t *testing.T) {
	for _, c := range []struct {
		name         string
		body, want   string
		change       func(*store.Session)
		changeMirror func(*store.Mirrors)
	}{
		{
			name: "at the top", body: `{"ID":"a","New":{"deep":[1,2]},"Other":null}`, want: `{"ID":"a","Queued":true,"New":{"deep":[1,2]},"Other":null}`,
			change: func(s *store.Session) { s.Queued = true },
		},
		{
			name: "within a field", body: `{"ID":"a","End":{"Reason":"old","Code":7}}`, want: `{"ID":"a","End":{"Reason":"new","Phase":"","Cause":"","Message":"","Code":7}}`,
			change: func(s *store.Session) { s.End.Reason = "new" },
		},
		{
			name: "within a field that becomes zero", body: `{"ID":"a","End":{"Reason":"old","Code":7}}`, want: `{"ID":"a","End":{"Code":7}}`,
			change: func(s *store.Session) { s.End = store.Failure{} },
		},
		{
			name: "a field that becomes zero goes", body: `{"ID":"a","TaskID":"x","New":1}`, want: `{"ID":"a","New":1}`,
			change: func(s *store.Session) { s.TaskID = "" },
		},
		{
			name: "in a list, by name",
			body: `{"Instance":"a","Entries":[{"Name":"x","Size":1,"UsedAt":"0001-01-01T00:00:00Z","New":1},{"Name":"y","Size":1,"UsedAt":"0001-01-01T00:00:00Z","New":2}]}`,
			want: `{"Instance":"a","Entries":[{"Name":"y","Size":1,"UsedAt":"0001-01-01T00:00:00Z","New":2}]}`,
			changeMirror: func(m *store.Mirrors) {
				m.Entries = m.Entries[1:]
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := store.SessionKey("a")
			if c.changeMirror != nil {
				key = store.MirrorsKey("a")
			}
			r, unknown, err := Decode(key, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			switch r := r.(type) {
			case *store.Session:
				c.change(r)
			case *store.Mirrors:
				c.changeMirror(r)
			}
			got, err := Encode(r, unknown)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(members(t, c.want), members(t, string(got))); diff != "" {
				t.Errorf("%s\n%s", got, diff)
			}
		})
	}
}

func members(t *testing.T, text string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, body string
		key        store.Key
		newer      bool
	}{
		{"a later version", `{"ID":"a","_v":2}`, store.SessionKey("a"), true},
		{"a kind that it does not know", `{"ID":"a"}`, store.Key{Kind: 200, ID: "a"}, true},
		{"another's record", `{"ID":"b"}`, store.SessionKey("a"), false},
		{"half a record", `{"ID":"a","Owner":"re`, store.SessionKey("a"), false},
		{"two records", `{"ID":"a"}{"ID":"a"}`, store.SessionKey("a"), false},
		{"nothing", ``, store.SessionKey("a"), false},
		{"a field of another type", `{"ID":"a","Owner":7}`, store.SessionKey("a"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _, err := Decode(c.key, []byte(c.body))
			if err == nil {
				t.Fatalf("it was read as %+v", r)
			}
			if errors.Is(err, ErrNewerRecord) != c.newer {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEncodeRefusesWhatItCouldNotRead(t *testing.T) {
	_, err := Encode(&store.Task{ID: "\xff"}, nil)
	if err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("Encode of an ID that is not UTF-8: %v", err)
	}
	_, err = Encode(&store.Session{ID: "a", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, nil)
	if err == nil {
		t.Error("Encode of a time in the year 10000 succeeded")
	}
}

// TestUserOfAnOlderVersion: a record from before limits and revocations counts none.
func TestUserOfAnOlderVersion(t *testing.T) {
	r, unknown, err := Decode(store.UserKey("u"), []byte(`{"ID":"u","Sessions":2}`))
	if diff := cmp.Diff(&store.User{ID: "u", Sessions: 2}, r); err != nil || unknown != nil || diff != "" {
		t.Errorf("%v, %s\n%s", err, unknown, diff)
	}
}
