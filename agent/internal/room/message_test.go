package room

import (
	"reflect"
	"testing"
)

// FuzzOrder: bytes of any kind are an order that is written as it was read, or an error.
func FuzzOrder(f *testing.F) {
	for _, o := range []order{
		{Greet: &Settings{MaxProcesses: 1024, MaxFiles: 65536}},
		{Start: &start{}},
		{Start: &start{Seq: 7, Mark: 1 << 20, UID: 10001, Path: "/bin", Dir: "/", Args: []string{"sh", "-c", "\x00\xff"}, Env: []string{"A=b", ""}}},
	} {
		b, err := o.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, again order
		if err := o.UnmarshalBinary(b); err != nil || o.Greet == nil && o.Start == nil {
			return
		}
		text, err := o.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalBinary(text); err != nil || !reflect.DeepEqual(o, again) {
			t.Errorf("%+v became %+v: %v", o, again, err)
		}
	})
}
