package layer

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a decoder: a stream that needs more is refused. The encoder's window is 4 MiB.
const maxWindow = 8 << 20

// compress returns a writer of a compressed stream. Its Close ends the stream. The fastest level keeps up with a disk, and two encoders are
// enough for that.
func compress(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
}

// decompress returns a reader of a compressed stream.
func decompress(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
}
