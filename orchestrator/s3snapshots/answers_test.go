package s3snapshots_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestAnswersThatLack: a list that does not say where it goes on ends, and an object without a time is not taken for an old one.
func TestAnswersThatLack(t *testing.T) {
	const object = `<Contents><Key>` + prefix + `/blobs/x</Key>%s</Contents>`
	const size, at = `<Size>7</Size>`, `<LastModified>2026-01-02T03:04:05Z</LastModified>`
	const upload = `<Upload><Key>` + prefix + `/blobs/x</Key>%s</Upload>`
	list := func(inside, more string) string {
		return `<ListBucketResult>` + fmt.Sprintf(object, inside) + more + `</ListBucketResult>`
	}
	uploads := func(inside, more string) string {
		return `<ListMultipartUploadsResult>` + fmt.Sprintf(upload, inside) + more + `</ListMultipartUploadsResult>`
	}
	const more = `<IsTruncated>true</IsTruncated>`
	for answer, query := range map[string]string{
		list(size, ""):      "list-type",
		list(at, ""):        "list-type",
		list(size+at, more): "list-type",
		list(size+at, more+`<NextContinuationToken>same</NextContinuationToken>`): "list-type",
		uploads("", ""):                       "uploads",
		uploads(`<UploadId>u</UploadId>`, ""): "uploads",
		uploads(`<UploadId>u</UploadId><Initiated>2126-01-02T03:04:05Z</Initiated>`, more): "uploads",
	} {
		s := serve(t)
		store, requests := s.open(), 0
		if _, err := store.Put(t.Context(), name, strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				t.Errorf("%s: a request to remove %s", answer, r.URL.Path)
			}
			if r.Method != http.MethodGet || !r.URL.Query().Has(query) {
				return false
			}
			if requests++; requests > 10 {
				http.Error(w, "enough", http.StatusForbidden)
				return true
			}
			w.Header().Set("Content-Type", "application/xml")
			io.WriteString(w, answer)
			return true
		})
		if _, err := store.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "lacks") || requests > 10 {
			t.Errorf("%s: %v, after %d requests", answer, err, requests)
		}
	}
}
