package rows

import (
	"testing"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

func BenchmarkCodec(b *testing.B) {
	r := &store.Session{
		ID: "s-0123456789abcdefghij", TaskID: "task-1", UserID: "user-1",
		SharingKey: naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/project"}},
		Remote:     "https://github.com/acme/project.git", Branch: "main", Labels: map[string]string{"team": "blue"}, State: store.SessionActive,
		Owner: "replica-1", CreatedAt: time.Now(), Container: "c-1", Instance: "i-1", LeaseUntil: time.Now(),
	}
	body, err := Encode(r, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(r, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Decode(r.Key(), body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
