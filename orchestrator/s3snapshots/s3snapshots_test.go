package s3snapshots_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/s3snapshots"
	"github.com/berth-go/berth/orchestrator/snapshottest"
)

const bucket, prefix = "pool", "berth/ci"

// server speaks S3's protocol.
type server struct {
	*s3.Client
	clock *clock
	// before, if not nil, answers a request in place of the server, and returns true.
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
}

// clock is the server's, which tests set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{clock: new(clock)}
	backend := s3mem.New(s3mem.WithTimeSource(s.clock))
	fake := gofakes3.New(backend, gofakes3.WithTimeSource(s.clock), gofakes3.WithTimeSkewLimit(0)).Server()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.before.Load(); f != nil && (*f)(w, r) {
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	s.Client = s3.New(s3.Options{
		BaseEndpoint: &web.URL, Region: "eu-central-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
	})
	// The server, unlike S3, cannot list the uploads of a bucket that never had one.
	first, err := s.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("first")})
	if err == nil {
		_, err = s.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("first"), UploadId: first.UploadId})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// intercept answers requests in place of the server until the test calls it with nil.
func (s *server) intercept(f func(w http.ResponseWriter, r *http.Request) bool) { s.before.Store(&f) }

const part = 100_000

func (s *server) open() orchestrator.SnapshotStore {
	return s3snapshots.NewSmall(s3snapshots.Config{Client: s.Client, Bucket: bucket, Prefix: prefix, Grace: s3snapshots.Grace}, part, 50)
}

func TestConformance(t *testing.T) {
	snapshottest.Run(t, snapshottest.Harness{New: func(t *testing.T) snapshottest.Rig {
		s := serve(t)
		return snapshottest.Rig{
			Store:   s.open(),
			Another: func(*testing.T) orchestrator.SnapshotStore { return s.open() },
			Grace:   s3snapshots.Grace,
			Pass: func(_ *testing.T, d time.Duration) {
				s.clock.mu.Lock()
				defer s.clock.mu.Unlock()
				s.clock.ahead += d
			},
			Contents: func(t *testing.T) int { return len(s.keys(t, "blobs/")) },
			Uploads:  func(t *testing.T) int { return len(s.uploads(t)) },
			ChangeContent: func(t *testing.T, stored orchestrator.Snapshot, change func([]byte) []byte) {
				s.change(t, "blobs/"+strings.TrimPrefix(stored.Digest, "sha256:")+".", change)
			},
			ChangeDescription: func(t *testing.T, name orchestrator.SnapshotName, change func([]byte) []byte) {
				s.change(t, "names/"+name.String(), change)
			},
			Many:  120,
			Large: part,
		}
	}})
}

// keys lists the keys of a pool that begin with a word.
func (s *server) keys(t *testing.T, word string) (keys []string) {
	t.Helper()
	pages := s3.NewListObjectsV2Paginator(s.Client, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(prefix + "/" + word)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// uploads lists the uploads in parts that have not ended.
func (s *server) uploads(t *testing.T) []string {
	t.Helper()
	page, err := s.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, u := range page.Uploads {
		keys = append(keys, *u.Key)
	}
	return keys
}

// change changes the one object whose key begins with a word.
func (s *server) change(t *testing.T, word string, change func([]byte) []byte) {
	t.Helper()
	keys := s.keys(t, word)
	if len(keys) != 1 {
		t.Fatalf("%s is %q", word, keys)
	}
	got, err := s.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &keys[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if content = change(content); content == nil {
		_, err = s.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &keys[0]})
	} else {
		_, err = s.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &keys[0], Body: bytes.NewReader(content)})
	}
	if err != nil {
		t.Fatal(err)
	}
}

var name = orchestrator.SnapshotName{Kind: orchestrator.SnapshotLayer, Key: "a"}

// isPart says whether a request sends a part.
func isPart(r *http.Request) bool { return r.Method == "PUT" && r.URL.Query().Has("partNumber") }

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>no</Message></Error>`)
}

func TestAPartIsSentAgain(t *testing.T) {
	s := serve(t)
	var failed atomic.Int32
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if isPart(r) && r.URL.Query().Get("partNumber") == "2" && failed.Add(1) == 1 {
			refuse(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}
		return false
	})
	want := bytes.Repeat([]byte("0123456789"), part/3)
	if _, err := s.open().Put(t.Context(), name, bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.open().Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) || failed.Load() != 2 {
		t.Errorf("%d bytes, %v, and part 2 was sent %d times", len(got), err, failed.Load())
	}
}

func TestAnUploadThatFailsIsAborted(t *testing.T) {
	for what, broken := range map[string]func(r *http.Request) bool{
		"a part":  func(r *http.Request) bool { return isPart(r) && r.URL.Query().Get("partNumber") == "3" },
		"the end": func(r *http.Request) bool { return r.Method == "POST" && r.URL.Query().Has("uploadId") },
	} {
		s := serve(t)
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if broken(r) {
				refuse(w, http.StatusForbidden, "AccessDenied")
				return true
			}
			return false
		})
		_, err := s.open().Put(t.Context(), name, bytes.NewReader(make([]byte, 5*part)))
		if err == nil || !strings.Contains(err.Error(), "AccessDenied") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
		if uploads, keys := s.uploads(t), s.keys(t, ""); len(uploads) != 0 || len(keys) != 0 {
			t.Errorf("%s: left %v and %v", what, uploads, keys)
		}
	}
}

// TestAnAbandonedUploadIsCollected plays a process that is killed after its first part.
func TestAnAbandonedUploadIsCollected(t *testing.T) {
	s := serve(t)
	for _, key := range []string{prefix + "/blobs/abandoned", "berth/other/blobs/of-another-pool"} {
		made, err := s.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: aws.String(bucket), Key: &key, UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("half"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	store := s.open()
	if _, err := store.Stat(t.Context(), name); !errors.Is(err, orchestrator.ErrNoSnapshot) {
		t.Errorf("Stat: %v", err)
	}
	for _, want := range []int{0, 1, 0} {
		done, err := store.Collect(t.Context())
		if err != nil || done.Uploads != want {
			t.Errorf("%+v, %v; want %d uploads to go", done, err, want)
		}
		s.clock.mu.Lock()
		s.clock.ahead += s3snapshots.Grace + time.Minute
		s.clock.mu.Unlock()
	}
	if uploads := s.uploads(t); len(uploads) != 1 || uploads[0] != "berth/other/blobs/of-another-pool" {
		t.Errorf("the uploads %v are left", uploads)
	}
}

// TestAStoreThatCannotBeReached: its error is none of those that say something about a snapshot.
func TestAStoreThatCannotBeReached(t *testing.T) {
	s := serve(t)
	store := s.open()
	if _, err := store.Put(t.Context(), name, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		refuse(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	_, stating := store.Stat(t.Context(), name)
	_, _, opening := store.Open(t.Context(), name)
	_, putting := store.Put(t.Context(), name, strings.NewReader("other"))
	_, collecting := store.Collect(t.Context())
	for call, err := range map[string]error{"Stat": stating, "Open": opening, "Put": putting, "Collect": collecting, "Delete": store.Delete(t.Context(), name)} {
		if err == nil || errors.Is(err, orchestrator.ErrNoSnapshot) || errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
			t.Errorf("%s: %v", call, err)
		}
	}
	// A content of which half arrives is no damage: the connection broke.
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "GET" || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
		io.WriteString(w, "con")
		return true
	})
	r, _, err := store.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err == nil || errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestRequestsCarryDigestAndKey looks at what S3 is asked to check and to encrypt with.
func TestRequestsCarryDigestAndKey(t *testing.T) {
	s := serve(t)
	var mu sync.Mutex
	bad := make(map[string]string)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		sends := r.Method == "PUT"
		begins := r.Method == "POST" && r.URL.Query().Has("uploads")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case sends && r.Header.Get("X-Amz-Checksum-Sha256") == "":
			bad[r.URL.Path] = "no digest"
		case (begins || sends && !isPart(r)) && r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != "the-key":
			bad[r.URL.Path] = "no key"
		}
		return false
	})
	store := s3snapshots.NewSmall(s3snapshots.Config{Client: s.Client, Bucket: bucket, Prefix: prefix, Grace: s3snapshots.Grace, KMSKey: "the-key"}, part, 50)
	for _, size := range []int{10, 3 * part} {
		if _, err := store.Put(t.Context(), name, bytes.NewReader(make([]byte, size))); err != nil {
			t.Fatal(err)
		}
	}
	if len(bad) > 0 {
		t.Errorf("%v", bad)
	}
}

func TestPartsAreNeverTooMany(t *testing.T) {
	for _, size := range []int64{1, 16 << 20, 100 << 30, 160_000 << 20, 160_000<<20 + 1, 5 << 40} {
		each := s3snapshots.PartSize(size)
		if parts := (size + each - 1) / each; parts > 10_000 || each < 5<<20 || each > 5<<30 {
			t.Errorf("%d bytes go in %d parts of %d", size, parts, each)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	client := s3.New(s3.Options{})
	for _, cfg := range []s3snapshots.Config{
		{}, {Client: client}, {Bucket: bucket}, {Client: client, Bucket: bucket, Prefix: "/a"}, {Client: client, Bucket: bucket, Prefix: "a/"},
		{Client: client, Bucket: bucket, Prefix: "a//b"}, {Client: client, Bucket: bucket, Prefix: "../a"}, {Client: client, Bucket: bucket, Grace: time.Minute},
	} {
		if _, err := s3snapshots.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	if _, err := s3snapshots.New(s3snapshots.Config{Client: client, Bucket: bucket, Prefix: "a/b"}); err != nil {
		t.Error(err)
	}
}

// TestAnUploadEndsWithItsContext: the context ends while a part is sent, and the upload is aborted all the same.
func TestAnUploadEndsWithItsContext(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if isPart(r) {
			io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done() // the client has gone
			return true
		}
		return false
	})
	if _, err := s.open().Put(ctx, name, bytes.NewReader(make([]byte, 5*part))); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if uploads, keys := s.uploads(t), s.keys(t, ""); len(uploads) != 0 || len(keys) != 0 {
		t.Errorf("left %v and %v", uploads, keys)
	}
}
