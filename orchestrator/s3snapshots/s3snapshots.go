// Package s3snapshots keeps snapshots in a bucket of S3, or of another service that speaks its protocol.
//
// A content is first written to a file of this machine, because its name is its digest. Then it is sent, unless the bucket has it: in one
// request, or in parts, several at a time. S3 compares each with its SHA-256. An upload in parts that fails is aborted. One whose process
// was killed is aborted by a later Collect. The client's own retries apply to every request.
//
// docs/snapshots.md has a policy with the rights that it needs, and the settings of the bucket.
package s3snapshots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-go/berth/internal/snapshots"
	"github.com/berth-go/berth/orchestrator"
)

// Config is the configuration of New.
type Config struct {
	Client *s3.Client // required
	Bucket string     // required; its name
	// Prefix is where the pool's objects are in the bucket: "berth/ci", for example. Each pool needs its own, and no prefix may lie
	// below another one. Default: the whole bucket.
	Prefix string
	// Grace is how long a content without a name is kept, and what an upload that did not end has left. Default: a day. All
	// processes of the pool need the same. It must be at least an hour.
	Grace time.Duration
	// TempDir is where a content is kept while its digest is computed and it is sent. It needs room for all contents that are stored
	// at a time. Default: os.TempDir.
	TempDir string
	// KMSKey encrypts objects with a key of AWS KMS: its ARN. Default: the bucket's own encryption, which is on for every bucket.
	KMSKey string
}

// New returns a store of snapshots in a bucket. It makes no request.
func New(cfg Config) (orchestrator.SnapshotStore, error) {
	var faults []error
	if cfg.Client == nil {
		faults = append(faults, errors.New("s3snapshots: Config.Client is nil"))
	}
	if cfg.Bucket == "" {
		faults = append(faults, errors.New("s3snapshots: Config.Bucket is empty"))
	}
	if p := cfg.Prefix; p != "" && (path.Clean(p) != p || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "..")) {
		faults = append(faults, fmt.Errorf("s3snapshots: Config.Prefix is %q, and must be a path without a slash at either end", p))
	}
	if cfg.Grace != 0 && cfg.Grace < time.Hour {
		faults = append(faults, fmt.Errorf("s3snapshots: Config.Grace is %v, and must be at least an hour", cfg.Grace))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return snapshots.New(newBucket(cfg.Client, cfg), cfg.Grace), nil
}

// api is what is used of the SDK.
type api interface {
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error)
	UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error)
	CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
	ListMultipartUploads(context.Context, *s3.ListMultipartUploadsInput, ...func(*s3.Options)) (*s3.ListMultipartUploadsOutput, error)
}

var _ api = (*s3.Client)(nil)

// bucket keeps objects in S3.
type bucket struct {
	api    api
	name   *string
	prefix string // of every key: "" or with a slash at its end
	temp   string
	page   int32 // objects of a list that one request asks for
	part   int64 // bytes that one request sends, unless there would be too many parts
	sse    types.ServerSideEncryption
	kms    *string
}

func newBucket(client api, cfg Config) *bucket {
	b := &bucket{api: client, name: &cfg.Bucket, temp: cfg.TempDir, page: maxPage, part: minPart}
	if cfg.Prefix != "" {
		b.prefix = cfg.Prefix + "/"
	}
	if cfg.KMSKey != "" {
		b.sse, b.kms = types.ServerSideEncryptionAwsKms, &cfg.KMSKey
	}
	return b
}

const (
	maxPage  = 1000     // S3's limit
	minPart  = 16 << 20 // S3 allows 5 MB to 5 GB
	maxParts = 10_000   // S3's limit
)

func (b *bucket) key(name string) *string { return aws.String(b.prefix + name) }

// wrap names the request that failed. An answer that there is no such object matches fs.ErrNotExist.
func wrap(request string, err error) error {
	if err == nil {
		return nil
	}
	var (
		noKey    *types.NoSuchKey
		notFound *types.NotFound // HeadObject's word for it
	)
	if errors.As(err, &noKey) || errors.As(err, &notFound) {
		return fmt.Errorf("s3: %s: %w: %w", request, fs.ErrNotExist, err)
	}
	return fmt.Errorf("s3: %s: %w", request, err)
}

// Write implements [snapshots.Bucket].
func (b *bucket) Write(ctx context.Context, name string, content []byte) error {
	_, err := b.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: b.name, Key: b.key(name), Body: bytes.NewReader(content), ContentLength: aws.Int64(int64(len(content))),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ServerSideEncryption: b.sse, SSEKMSKeyId: b.kms,
	})
	return wrap("PutObject "+name, err)
}

// Read implements [snapshots.Bucket].
func (b *bucket) Read(ctx context.Context, name string) (io.ReadCloser, snapshots.Object, error) {
	got, err := b.api.GetObject(ctx, &s3.GetObjectInput{Bucket: b.name, Key: b.key(name)}, func(o *s3.Options) {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired // the reader of a content compares its digest
	})
	if err != nil {
		return nil, snapshots.Object{}, wrap("GetObject "+name, err)
	}
	o, err := object(name, got.ContentLength, got.LastModified)
	if err != nil {
		got.Body.Close()
		return nil, o, wrap("GetObject "+name, err)
	}
	return got.Body, o, nil
}

// errLacks says that an answer is not whole. Collect would take an object without a time for one of long ago, and remove it.
var errLacks = errors.New("the answer lacks a name, a size, a time, or where it goes on")

func object(name string, size *int64, at *time.Time) (snapshots.Object, error) {
	if name == "" || size == nil || at == nil {
		return snapshots.Object{}, errLacks
	}
	return snapshots.Object{Name: name, Size: *size, Time: *at}, nil
}

// Stat implements [snapshots.Bucket].
func (b *bucket) Stat(ctx context.Context, name string) (snapshots.Object, error) {
	got, err := b.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b.name, Key: b.key(name)})
	if err != nil {
		return snapshots.Object{}, wrap("HeadObject "+name, err)
	}
	o, err := object(name, got.ContentLength, got.LastModified)
	return o, wrap("HeadObject "+name, err)
}

// List implements [snapshots.Bucket].
func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[snapshots.Object, error] {
	return func(yield func(snapshots.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: b.name, Prefix: b.key(prefix), MaxKeys: &b.page}
		for {
			page, err := b.api.ListObjectsV2(ctx, in)
			if err != nil {
				yield(snapshots.Object{}, wrap("ListObjectsV2 "+prefix, err))
				return
			}
			for _, o := range page.Contents {
				found, err := object(strings.TrimPrefix(aws.ToString(o.Key), b.prefix), o.Size, o.LastModified)
				if !yield(found, wrap("ListObjectsV2 "+prefix, err)) || err != nil {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			if !goesOn(in.ContinuationToken, page.NextContinuationToken) {
				yield(snapshots.Object{}, wrap("ListObjectsV2 "+prefix, errLacks))
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

// goesOn reports whether a list goes on at another place than the last request began at.
func goesOn(began, next *string) bool {
	return aws.ToString(next) != "" && aws.ToString(next) != aws.ToString(began)
}

// Remove implements [snapshots.Bucket].
func (b *bucket) Remove(ctx context.Context, name string) error {
	_, err := b.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b.name, Key: b.key(name)})
	if err = wrap("DeleteObject "+name, err); errors.Is(err, fs.ErrNotExist) {
		return nil // S3 itself does not tell
	}
	return err
}

// RemoveStages implements [snapshots.Bucket]. The file of a Stage has no name, and goes with its process.
func (b *bucket) RemoveStages(ctx context.Context, before time.Time) (n int, err error) {
	in := &s3.ListMultipartUploadsInput{Bucket: b.name, Prefix: b.key(""), MaxUploads: &b.page}
	for {
		page, err := b.api.ListMultipartUploads(ctx, in)
		if err != nil {
			return n, wrap("ListMultipartUploads", err)
		}
		for _, u := range page.Uploads {
			if u.Key == nil || u.UploadId == nil || u.Initiated == nil {
				return n, wrap("ListMultipartUploads", errLacks)
			}
			if !u.Initiated.Before(before) {
				continue
			}
			if err := b.abort(ctx, u.Key, u.UploadId); err != nil {
				return n, err
			}
			n++
		}
		if !aws.ToBool(page.IsTruncated) {
			return n, nil
		}
		if !goesOn(in.KeyMarker, page.NextKeyMarker) && !goesOn(in.UploadIdMarker, page.NextUploadIdMarker) {
			return n, wrap("ListMultipartUploads", errLacks)
		}
		in.KeyMarker, in.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker
	}
}
