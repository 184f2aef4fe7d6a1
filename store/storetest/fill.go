package storetest

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// everyKind returns an empty record of each kind. A kind that is missing here fails the test that counts them.
func everyKind() []store.Record {
	return []store.Record{
		&store.Pool{}, &store.Instance{}, &store.Sharing{}, &store.Mirrors{}, &store.Container{}, &store.Session{},
		&store.Task{}, &store.Lease{}, &store.User{}, &store.Usage{}, &store.Ledger{}, &store.Warmth{}, &store.Demand{},
	}
}

// filler sets every field of a record, by reflection, so that a field which is added later cannot be forgotten.
type filler struct {
	n    int                // counts the fields, so that no two have the same value
	text func(n int) string // the value of a string field
}

// filled returns a record of the same type without zero fields. Different seeds give different values.
func filled[R store.Record](like R, seed int) R { return fillWith(like, seed, plainText) }

func fillWith[R store.Record](like R, seed int, text func(n int) string) R {
	r := reflect.New(reflect.TypeOf(like).Elem())
	f := filler{n: seed * 1000, text: text}
	f.fill(r.Elem())
	return r.Interface().(R)
}

func plainText(n int) string { return "text-" + strconv.Itoa(n) }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch v.Interface().(type) {
	case time.Time:
		// Not UTC, and finer than a store keeps.
		zone := time.FixedZone("somewhere", 3*60*60)
		v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 678_901_234+f.n%1000*1000, zone)))
		return
	case naming.Repository:
		path := "team/project-" + strconv.Itoa(f.n)
		v.Set(reflect.ValueOf(naming.Repository{Host: "git.example.com", Path: path}))
		return
	case store.InstanceState:
		v.Set(reflect.ValueOf(store.InstanceReady))
		return
	case store.ContainerState:
		v.Set(reflect.ValueOf(store.ContainerReady))
		return
	case store.SessionState:
		v.Set(reflect.ValueOf(store.SessionActive))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text(f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n % 251))
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key)
			f.fill(value)
			v.SetMapIndex(key, value)
		}
	default:
		panic(fmt.Sprintf("storetest: a record holds a %s, which is not plain data", v.Type()))
	}
}

// scramble changes in place everything that can be changed through r, including the elements of slices and maps.
func scramble(r store.Record) { scrambleValue(reflect.ValueOf(r).Elem()) }

func scrambleValue(v reflect.Value) {
	if _, isTime := v.Interface().(time.Time); isTime {
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			scrambleValue(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			scrambleValue(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
		}
	default:
		v.SetZero()
	}
}

// describe returns text for the parts of a record that a store must keep: times as instants, to the microsecond, and an
// empty slice or map like nil.
func describe(r store.Record) string {
	if r == nil || reflect.ValueOf(r).IsNil() {
		return "absent"
	}
	return fmt.Sprintf("%T%v", r, plain(reflect.ValueOf(r).Elem()))
}

func plain(v reflect.Value) any {
	if t, isTime := v.Interface().(time.Time); isTime {
		if t.IsZero() {
			return "never"
		}
		return t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	}
	switch v.Kind() {
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			fields[v.Type().Field(i).Name] = plain(v.Field(i))
		}
		return fields
	case reflect.Slice:
		elems := []any{}
		for i := range v.Len() {
			elems = append(elems, plain(v.Index(i)))
		}
		return elems
	case reflect.Map:
		elems := map[string]any{}
		for _, key := range v.MapKeys() {
			elems[fmt.Sprintf("%q", key)] = plain(v.MapIndex(key))
		}
		return elems
	case reflect.String:
		return strconv.Quote(v.String())
	}
	return v.Interface()
}
