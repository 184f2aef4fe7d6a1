package gitremote

import "testing"

func TestRefused(t *testing.T) {
	for message, want := range map[string]bool{
		"fatal: could not read Username for 'https://host.xz': terminal prompts disabled":                                   true,
		"fatal: could not read Password for 'https://me@host.xz': terminal prompts disabled":                                true,
		"remote: who are you?\nfatal: Authentication failed for 'https://host.xz/o/r/'":                                     true,
		"remote: Repository not found.\nfatal: repository 'https://host.xz/o/r/' not found":                                 true,
		"fatal: repository 'https://host.xz/o/r/' not found":                                                                true,
		"fatal: unable to access 'https://host.xz/o/r/': The requested URL returned error: 403":                             true,
		"git@host.xz: Permission denied (publickey).\nfatal: Could not read from remote repository.":                        true,
		"ERROR: Repository not found.\nfatal: Could not read from remote repository.":                                       true,
		"fatal: remote error: access denied or repository not exported: /o/r":                                               true,
		"fatal: unable to access 'https://host.xz/o/r/': The requested URL returned error: 503":                             false,
		"fatal: unable to access 'https://host.xz/o/r/': The requested URL returned error: 429":                             false,
		"fatal: unable to access 'https://host.xz/o/r/': Received HTTP code 403 from proxy after CONNECT":                   false,
		"fatal: unable to access 'https://host.xz/o/r/': Could not resolve host: host.xz":                                   false,
		"ssh: connect to host host.xz port 22: Connection refused\nfatal: Could not read from remote repository.":           false,
		"fatal: unable to access 'https://host.xz/o/r/': SSL certificate problem: self signed certificate":                  false,
		"fatal: unable to access 'https://host.xz/Authentication failed/': Failed to connect to host.xz: Try again":         false,
		"fatal: unable to access 'https://host.xz/o/returned error: 403/': server certificate verification failed":          false,
		"fatal: write error: No space left on device":                                                                       false,
		"the remote takes no connection: no answer for 30s":                                                                 false,
		"Host key verification failed.\nfatal: Could not read from remote repository.":                                      false,
		"ssh: Could not resolve hostname host.xz: Name or service not known\nfatal: Could not read from remote repository.": false,
	} {
		if got := Refused(message); got != want {
			t.Errorf("%v: %s", got, message)
		}
	}
}
