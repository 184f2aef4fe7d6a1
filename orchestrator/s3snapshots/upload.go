package s3snapshots

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/berth-go/berth/internal/snapshots"
)

// senders is how many parts of a content are sent at a time.
const senders = 4

// abortTimeout bounds the request that aborts an upload whose context may have ended.
const abortTimeout = time.Minute

// Stage implements [snapshots.Bucket].
func (b *bucket) Stage(ctx context.Context) (snapshots.Stage, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := os.CreateTemp(b.temp, "berth-snapshot-*") // with the rights 0600
	if err != nil {
		return nil, err
	}
	s := &stage{File: f, bucket: b}
	// Without a name, the file goes with the process. Windows keeps the name of an open file, and Close removes it.
	s.named = os.Remove(f.Name()) != nil
	return s, nil
}

// stage is a file of this machine.
type stage struct {
	*os.File
	bucket *bucket
	named  bool // the file has still a name
}

// Close implements [snapshots.Stage].
func (s *stage) Close() error {
	err := s.File.Close()
	if s.named {
		_ = os.Remove(s.Name())
	}
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// Store implements [snapshots.Stage].
func (s *stage) Store(ctx context.Context, name string, digest [32]byte) error {
	size, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	b := s.bucket
	if size > b.part {
		return b.sendParts(ctx, name, s.File, size)
	}
	_, err = b.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: b.name, Key: b.key(name), Body: io.NewSectionReader(s.File, 0, size), ContentLength: &size,
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(digest[:])), ServerSideEncryption: b.sse, SSEKMSKeyId: b.kms,
	})
	return wrap("PutObject "+name, err)
}

// partSize returns the size of the parts of a content.
func (b *bucket) partSize(size int64) int64 {
	return max(b.part, (size+maxParts-1)/maxParts)
}

// sendParts sends a content in parts. After an error nothing of it is left, unless the upload cannot be aborted either: then a Collect
// does that.
func (b *bucket) sendParts(ctx context.Context, name string, content io.ReaderAt, size int64) error {
	made, err := b.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: b.name, Key: b.key(name), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ServerSideEncryption: b.sse, SSEKMSKeyId: b.kms,
	})
	if err != nil {
		return wrap("CreateMultipartUpload "+name, err)
	}
	if made.UploadId == nil {
		return wrap("CreateMultipartUpload "+name, errLacks)
	}
	parts, err := b.send(ctx, name, made.UploadId, content, size)
	if err == nil {
		_, err = b.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: b.name, Key: b.key(name), UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		err = wrap("CompleteMultipartUpload "+name, err)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		return errors.Join(err, b.abort(ctx, b.key(name), made.UploadId))
	}
	return nil
}

// send sends the parts of an upload. They are read from the file as they are sent, and again for a retry.
func (b *bucket) send(ctx context.Context, name string, upload *string, content io.ReaderAt, size int64) ([]types.CompletedPart, error) {
	each := b.partSize(size)
	parts := make([]types.CompletedPart, (size+each-1)/each)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(senders)
	for i := range parts {
		number, from := aws.Int32(int32(i+1)), int64(i)*each
		length := min(each, size-from)
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			sent, err := b.api.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: b.name, Key: b.key(name), UploadId: upload, PartNumber: number, ContentLength: &length,
				Body: io.NewSectionReader(content, from, length), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
			})
			if err != nil {
				return wrap("UploadPart "+name, err)
			}
			parts[i] = types.CompletedPart{PartNumber: number, ETag: sent.ETag, ChecksumSHA256: sent.ChecksumSHA256}
			return nil
		})
	}
	return parts, group.Wait()
}

// abort gives an upload up. It is a success if there is none.
func (b *bucket) abort(ctx context.Context, key, upload *string) error {
	_, err := b.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: b.name, Key: key, UploadId: upload})
	var gone *types.NoSuchUpload
	if errors.As(err, &gone) {
		return nil
	}
	return wrap("AbortMultipartUpload", err)
}
