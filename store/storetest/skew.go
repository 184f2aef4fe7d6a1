package storetest

import (
	"context"
	"reflect"
	"time"

	"github.com/berth-go/berth/store"
)

// Skew returns a Store through which a process with a wrong wall clock uses s. The clock is ahead of the true time by offset(), or
// behind if offset() is negative. Times that the process writes are ahead in s, and times that others write seem to it to be
// behind. An offset that changes simulates a clock that is set. offset may be called at any time, from any goroutine.
func Skew(s store.Store, offset func() time.Duration) store.Store { return &skewed{s, offset} }

type skewed struct {
	store.Store
	offset func() time.Duration
}

// View implements store.Store.
func (s *skewed) View(ctx context.Context, fn func(store.View) error) error {
	by := s.offset()
	return s.Store.View(ctx, func(v store.View) error { return fn(skewedView{v, by}) })
}

// Update implements store.Store.
func (s *skewed) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	by := s.offset()
	return s.Store.Update(ctx, keys, func(tx store.Tx) error { return fn(skewedTx{tx, by}) })
}

type skewedView struct {
	store.View
	by time.Duration
}

func (v skewedView) Get(k store.Key) (store.Record, error) {
	r, err := v.View.Get(k)
	return shiftedBack(v.by, r)[0], err
}

func (v skewedView) Instances(q store.InstanceQuery) ([]*store.Instance, error) {
	all, err := v.View.Instances(q)
	return shiftedBack(v.by, all...), err
}

func (v skewedView) Containers(q store.ContainerQuery) ([]*store.Container, error) {
	all, err := v.View.Containers(q)
	return shiftedBack(v.by, all...), err
}

func (v skewedView) Sessions(q store.SessionQuery) ([]*store.Session, error) {
	shift(reflect.ValueOf(&q), v.by)
	all, err := v.View.Sessions(q)
	return shiftedBack(v.by, all...), err
}

type skewedTx struct {
	store.Tx
	by time.Duration
}

func (tx skewedTx) Get(k store.Key) (store.Record, error) {
	r, err := tx.Tx.Get(k)
	return shiftedBack(tx.by, r)[0], err
}

func (tx skewedTx) Put(r store.Record) error {
	r = r.Clone()
	shift(reflect.ValueOf(r), tx.by)
	return tx.Tx.Put(r)
}

func shiftedBack[R store.Record](by time.Duration, all ...R) []R {
	for _, r := range all {
		shift(reflect.ValueOf(r), -by)
	}
	return all
}

// shift moves every time in a value, except zero times.
func shift(v reflect.Value, by time.Duration) {
	switch v.Kind() {
	case reflect.Pointer:
		shift(v.Elem(), by)
	case reflect.Slice:
		for i := range v.Len() {
			shift(v.Index(i), by)
		}
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			if !t.IsZero() {
				v.Set(reflect.ValueOf(t.Add(by).Round(0)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				shift(v.Field(i), by)
			}
		}
	}
}
