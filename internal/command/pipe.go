package command

import "io"

// A pipeEnd is an end of an io.Pipe. It can be compared.
type pipeEnd interface{ CloseWithError(error) error }

// InputPipe returns a pipe to the command. The reader is to be the Stdin of Start. The end of the program closes the pipe.
func (s *streams) InputPipe() (*io.PipeReader, *io.PipeWriter) {
	r, w := io.Pipe()
	s.stdin, s.pipes = w, append(s.pipes, r)
	return r, w
}

// OutputPipe returns a pipe from the command. The writer is to be the Stdout or Stderr of Start. The reader gets io.EOF
// only after all that was written.
func (s *streams) OutputPipe() (*io.PipeReader, *io.PipeWriter) {
	r, w := io.Pipe()
	s.pipes = append(s.pipes, w)
	return r, w
}

// endPipes closes the command's ends of its pipes, unless they are closed already. The readers get cause. It is nil only
// if the output is whole: a reader takes io.EOF for the end of a whole output.
func (s *streams) endPipes(cause error) {
	for _, end := range s.pipes {
		end.CloseWithError(cause)
	}
}
