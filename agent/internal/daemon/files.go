package daemon

// filesProgram returns the command that serves the files of a session. It gets nothing of what the session's commands have in their
// environment, and runs in a directory that the session cannot remove.
func (d *Daemon) filesProgram(sess *session) (args, env [][]byte, dir []byte) {
	return [][]byte{[]byte(d.Program), []byte("files"), []byte(sess.place.Workdir)}, nil, []byte("/")
}
