package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/store"
)

// Secret stands for a credential. Tests use it for every credential that they pass in, and NoSecret checks the places
// where it must not appear.
const Secret = "hunter2-s3cr3t"

// NoSecret fails the test if Secret is in a record, an event, the log or one of some errors.
func (w *World) NoSecret(errs ...error) {
	w.T.Helper()
	for _, err := range errs {
		w.without("an error", fmt.Sprintf("%v %+v", err, err))
		for ; err != nil; err = errors.Unwrap(err) {
			w.without("an error's fields", fmt.Sprintf("%+v", err))
		}
	}
	for _, e := range w.Events() {
		w.without("an event", fmt.Sprintf("%+v", e))
	}
	w.without("the log", w.log.String())
	w.View(func(v store.View) error {
		sessions, err := v.Sessions(store.SessionQuery{})
		if err != nil {
			return err
		}
		keys := []store.Key{store.PoolKey()}
		for _, r := range sessions {
			keys = append(keys, r.Key(), store.TaskKey(r.TaskID), store.UserKey(r.UserID))
		}
		for _, r := range w.ContainerRecords() {
			keys = append(keys, r.Key(), store.SharingKey(r.Name))
		}
		for _, r := range w.InstanceRecords() {
			keys = append(keys, r.Key(), store.MirrorsKey(r.ID))
		}
		for _, key := range keys {
			switch r, err := v.Get(key); {
			case err == nil:
				w.withoutRecord(r)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
		return nil
	})
	for _, c := range w.Engine.Containers() {
		w.without("a container", fmt.Sprintf("%+v", c))
	}
}

func (w *World) withoutRecord(r store.Record) {
	w.T.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		w.T.Fatal(err)
	}
	w.without("the record "+r.Key().String(), string(text))
}

func (w *World) without(what, text string) {
	w.T.Helper()
	if strings.Contains(text, Secret) {
		w.T.Errorf("%s holds a credential: %s", what, text)
	}
}
