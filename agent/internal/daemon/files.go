package daemon

// filesProgram returns the command by which the agent's program serves the files of the session. It gets nothing of what the session's
// commands have in their environment, and runs in a directory that the session cannot remove.
func (s *session) filesProgram(program string) (args, env [][]byte, dir []byte) {
	return [][]byte{[]byte(program), []byte("files"), []byte(s.place.Workdir)}, nil, []byte("/")
}
