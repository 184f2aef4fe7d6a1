package gitremote

import (
	"strings"
	"testing"
)

func TestPassing(t *testing.T) {
	const hungUp = "\nfatal: the remote end hung up unexpectedly"
	const ssh = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists."
	odd := strings.NewReplacer("host.xz", "certificates.corp", "o/r", "acme/certificate has expired, not allowed, Permission denied")
	access := func(words string) string { return "fatal: unable to access 'https://host.xz/o/r/': " + words }
	for message, want := range map[string]bool{
		// A status.
		access("The requested URL returned error: 503"):                                                                      true,
		access("The requested URL returned error: 503 Service Unavailable"):                                                  true, // curl before 7.76
		access("The requested URL returned error: 502"):                                                                      true,
		access("The requested URL returned error: 504"):                                                                      true,
		access("The requested URL returned error: 429"):                                                                      true,
		"remote: try again\n" + access("The requested URL returned error: 503"):                                              true,
		"error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503\nfatal: expected flush after ref listing": true,
		"error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502 Bad Gateway" + hungUp:                     true,
		access("Received HTTP code 503 from proxy after CONNECT"):                                                            true,
		access("CONNECT tunnel failed, response 502"):                                                                        true,
		access("The requested URL returned error: 500"):                                                                      true,
		"remote: a certificate is not there, which is not allowed\n" + access("The requested URL returned error: 502"):       true,
		"fatal: write error: No space left on device\n" + access("The requested URL returned error: 503"):                    false,
		access("The requested URL returned error: 401"):                                                                      false,
		access("The requested URL returned error: 403"):                                                                      false,
		access("The requested URL returned error: 404"):                                                                      false,
		"error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403" + hungUp:                                 false,
		"error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413" + hungUp:                                 false,
		access("Received HTTP code 407 from proxy after CONNECT"):                                                            false,

		// The connection over HTTP.
		access("Could not resolve host: host.xz"):                                                                       true,
		access("Failed to connect to host.xz port 443: Connection refused"):                                             true,
		access("Failed to connect to host.xz port 443 after 0 ms: Couldn't connect to server"):                          true,
		access("Failed to connect to host.xz port 443: No route to host"):                                               true,
		access("Failed to connect to host.xz port 443 after 9 ms: Host is unreachable"):                                 true, // musl
		access("Failed to connect to host.xz port 443 after 9 ms: Network unreachable"):                                 true, // musl
		access("Failed to connect to host.xz port 443 after 9 ms: Operation timed out"):                                 true, // musl
		access("Operation timed out after 30001 milliseconds with 0 bytes received"):                                    true,
		access("SSL connection timeout"):                                                                                true,
		access("Empty reply from server"):                                                                               true,
		access("Recv failure: Connection reset by peer"):                                                                true,
		access("OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to host.xz:443 "):                                  true,
		access("OpenSSL SSL_connect: Connection reset by peer in connection to host.xz:443 "):                           true,
		access("OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading, errno 0"):                  true,
		access("gnutls_handshake() failed: The TLS connection was non-properly terminated."):                            true,
		access("GnuTLS recv error (-110): The TLS connection was non-properly terminated."):                             true,
		access("gnutls_handshake() failed: Error in the pull function."):                                                true,
		"error: RPC failed; curl 56 GnuTLS recv error (-9): A TLS packet with unexpected length was received." + hungUp: true,
		"error: RPC failed; curl 56 Recv failure: Connection reset by peer\nerror: 4096 bytes of body are still expected\nfetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output": true,
		"error: RPC failed; curl 18 transfer closed with outstanding read data remaining" + hungUp + "\nfatal: early EOF\nfatal: index-pack failed":                                                                                                        true,
		"error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly: CANCEL (err 8)" + hungUp:                                                                                                                                                       true,
		access("Error in the HTTP2 framing layer"):                                                                           true,
		"error: RPC failed; curl 16 Error in the HTTP2 framing layer\nfatal: expected flush after ref listing":               true,
		"error: RPC failed; curl 92 Stream error in the HTTP/2 framing layer":                                                true,
		access("HTTP/2 stream 1 was closed cleanly, but before getting all response header fields, treated as error"):        true,
		access("HTTP/2 stream 5 was reset"):                                                                                  true,
		access("Failure when receiving data from the peer"):                                                                  true,
		access("Failed sending data to the peer"):                                                                            true,
		access("Server returned nothing (no headers, no data)"):                                                              true,
		access("Transferred a partial file"):                                                                                 true,
		access("Timeout was reached"):                                                                                        true,
		"fatal: expected flush after ref listing":                                                                            true,
		"error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\nfatal: expected flush after ref listing": false,
		"error: RPC failed; result=22, HTTP code = 403" + hungUp:                                                             false,
		"error: RPC failed; result=22, HTTP code = 503" + hungUp:                                                             true,
		"error: RPC failed; result=56, HTTP code = 200" + hungUp:                                                             true, // git 2.20
		access("SSL certificate problem: certificate has expired") + "\nConnection reset by peer":                            false,
		access("SSL certificate problem: self-signed certificate in certificate chain") + hungUp:                             false,
		access("SSL: certificate subject name 'xz' does not match target host name 'host.xz'") + hungUp:                      false,
		access("OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0") + hungUp:         false,
		access("server certificate verification failed. CAfile: none CRLfile: none") + hungUp:                                false,
		access("SSL certificate problem: unable to get local issuer certificate"):                                            false,
		access("SSL: no alternative certificate subject name matches target host name 'host.xz'"):                            false,
		access("server certificate verification failed. CAfile: none CRLfile: none"):                                         false,
		"fatal: Authentication failed for 'https://host.xz/o/r/'":                                                            false,
		"fatal: could not read Username for 'https://host.xz': terminal prompts disabled":                                    false,
		"remote: Repository not found.\nfatal: repository 'https://host.xz/o/r/' not found":                                  false,
		"fatal: transport 'file' not allowed":                                                                                false,

		// SSH.
		"ssh: connect to host host.xz port 22: Connection refused" + ssh:                                             true,
		"ssh: connect to host host.xz port 22: Connection timed out" + ssh:                                           true,
		"ssh: Could not resolve hostname host.xz: Temporary failure in name resolution" + ssh:                        true,
		"ssh: Could not resolve hostname host.xz: Try again" + ssh:                                                   true,  // musl
		"ssh: Could not resolve hostname host.xz: Name does not resolve" + ssh:                                       false, // musl
		"ssh: connect to host host.xz port 22: Host is unreachable" + ssh:                                            true,  // musl
		"ssh: Could not resolve hostname host.xz: Name or service not known" + ssh:                                   false,
		"kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.1 port 22" + ssh: true,
		"Connection to host.xz closed by remote host." + ssh:                                                         true,
		"ssh_exchange_identification: read: Connection reset by peer" + ssh:                                          true,
		"client_loop: send disconnect: Broken pipe\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output":  true,
		"git@host.xz: Permission denied (publickey)." + ssh:                                                          false,
		"Host key verification failed." + ssh:                                                                        false,
		"ERROR: Repository not found." + ssh:                                                                         false,
		"fatal: '/o/r' does not appear to be a git repository" + ssh:                                                 false,

		// The git protocol.
		"fatal: unable to connect to host.xz:\nhost.xz[0: 10.0.0.1]: errno=Connection refused":  true,
		"fatal: unable to look up host.xz (port 9418) (Temporary failure in name resolution)":   true,
		"fatal: unable to look up host.xz (port 9418) (Try again)":                              true, // musl
		"fatal: unable to connect to host.xz:\nhost.xz[0: 10.0.0.1]: errno=Operation timed out": true,
		"fatal: unable to look up host.xz (port 9418) (Name or service not known)":              false,
		"fatal: read error: Connection reset by peer":                                           true,
		"fatal: The remote end hung up upon initial contact":                                    true,

		// This machine, whatever it does to the connection.
		"fatal: write error: No space left on device\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output": false,
		"error: index-pack died of signal 9\nfatal: fetch-pack: invalid index-pack output":                            false,
		"fatal: couldn't find remote ref refs/heads/x":                                                                false,
		"error: RPC failed; curl 28 Operation too slow. Less than 1 bytes/sec transferred the last 60 seconds":        false, // a minute is gone
		"": false,
	} {
		if got := Passing(message); got != want {
			t.Errorf("Passing is %v of\n%s", got, message)
		}
		// The names of a host and a repository say nothing.
		if renamed := odd.Replace(message); Passing(renamed) != want {
			t.Errorf("Passing is %v of\n%s", !want, renamed)
		}
	}
}

func TestTransient(t *testing.T) {
	for message, want := range map[string]bool{
		"fatal: unable to access 'https://host.xz/': The requested URL returned error: 503":                    true,
		"error: RPC failed; curl 28 Operation too slow. Less than 1 bytes/sec transferred the last 60 seconds": true,
		"the remote takes no connection: no answer for 30s":                                                    true,
		"the remote does not answer: it took the connection and sent nothing for 1m15s":                        true,
		"nothing happened for 5m0s": true,
		"fatal: unable to access 'https://host.xz/server certificate/': Operation too slow":     true,
		"fatal: unable to connect to host.xz:\nhost.xz[0: 10.0.0.1]: errno=Operation timed out": true,
		"nothing happened for 5m0s\nfatal: write error: No space left on device":                false,
		"fatal: Authentication failed for 'https://host.xz/'":                                   false,
		"": false,
	} {
		if got := Transient(message); got != want {
			t.Errorf("Transient is %v of\n%s", got, message)
		}
	}
}
