// Package gitremote is the common part of everything that fetches from a remote: which failures pass, how often a fetch is
// repeated, and which branch, tag or commit a name means. It does no input or output.
package gitremote

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Passing reports whether a fetch that failed with this message may succeed if it is repeated soon: the server was overloaded
// or restarting, the connection broke, or a name could not be looked up. Refusals of a server (401, 403, 404), a certificate
// that is not trusted, and a full disk do not pass. Passing knows the messages of git 2.20 to 2.47, of curl with OpenSSL and
// GnuTLS, and of OpenSSH, with LC_ALL=C, and those of glibc and musl for an errno.
func Passing(message string) bool {
	message = withoutNames(message)
	if contains(message, exhausted) {
		return false
	}
	// A status says more than git's message about the broken exchange after it.
	refused := false
	for _, match := range status.FindAllStringSubmatch(message, -1) {
		code, _ := strconv.Atoi(match[1])
		if code >= 400 && !slices.Contains(passingStatus, code) {
			return false
		}
		refused = refused || code >= 400
	}
	return refused || !contains(message, lasting) && contains(message, passing)
}

// withoutNames removes the remote's own words, URLs and quotations, since the name of a repository may hold any words. An
// apostrophe, as in "couldn't", does not open a quotation. "; " separates the lines of git's message.
func withoutNames(message string) string {
	message = strings.ReplaceAll(said.ReplaceAllString(message, ""), "; ", "\n")
	return address.ReplaceAllString(quotation.ReplaceAllString(message, "''"), "")
}

var (
	quotation = regexp.MustCompile(`\B'[^'\n]*'`)
	address   = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://\S*`)
)

func contains(message string, list []string) bool {
	return slices.ContainsFunc(list, func(words string) bool { return strings.Contains(message, words) })
}

// Transient reports whether a fetch that failed with this message may succeed at some later time: the failure is Passing, or
// the remote did not answer in time.
func Transient(message string) bool {
	if Passing(message) {
		return true
	}
	message = withoutNames(message)
	return contains(message, slow) && !contains(message, exhausted) && !contains(message, lasting)
}

// slow has the words of curl and of the agent for a remote that did not answer in time.
var slow = []string{"Operation too slow", "takes no connection", "the remote does not answer", "nothing happened for"}

// status matches the words of curl and git for the HTTP status of a server or of a proxy.
var status = regexp.MustCompile(`(?:returned error: |RPC failed; HTTP |HTTP code (?:= )?|response )([1-5][0-9][0-9])\b`)

// passingStatus has 408 Request Timeout, 429 Too Many Requests, 500, which forges send during an outage, and the statuses of a
// gateway, and of Cloudflare, whose server is not available.
var passingStatus = []int{408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}

// exhausted has the words for a resource of this machine that is used up. Another try is of no use then, even if
// the message has a status that passes.
var exhausted = []string{
	"No space left on device",
	"Disk quota exceeded",
	"Cannot allocate memory",
	"Out of memory",
	"died of signal",
	"ended by signal",
}

// lasting has words after which another try is of no use, unless an HTTP status says otherwise.
var lasting = []string{
	"Quota exceeded", // of the disk, in musl's words
	"Authentication failed",
	"could not read Username",
	"could not read Password",
	"Permission denied",
	"Host key verification failed",
	"REMOTE HOST IDENTIFICATION HAS CHANGED",
	"Too many authentication failures",
	"Name or service not known", // the resolver's words for a name that does not exist; curl has the same words for all failures
	"epository not found",
	"does not appear to be a git repository",
	"not allowed",

	// A certificate has expired, is not trusted or is for another name, or the server wants a certificate of the client.
	"SSL certificate",
	"server certificate",
	"peer certificate",
	"issuer certificate",
	"signed certificate", // "self signed", "self-signed"
	"certificate verif",
	"certificate subject",
	"certificate has expired",
	"certificate is not",
	"certificate is NOT",
	"alert certificate",
	"alert bad certificate",
}

// passing has the words for a connection that failed or broke, and for a failed look-up.
var passing = []string{
	"Could not resolve host: ",
	"Could not resolve proxy: ",
	"Temporary failure in name resolution",
	"Try again", // the same in musl's words
	"Connection refused",
	"Connection timed out",
	"Operation timed out", // the same in musl's and in curl's words
	"SSL connection timeout",
	"Connection reset",
	"Connection closed by",
	"closed by remote host",
	"was reset", // a connection, or an HTTP/2 stream
	"Couldn't connect to server",
	"No route to host",
	"Host is unreachable", // the same in musl's words
	"Network is unreachable",
	"Network unreachable", // the same in musl's words
	"Broken pipe",
	"Empty reply from server",
	"Proxy CONNECT aborted",
	"transfer closed with",
	"Transferred a partial file",
	"Failure when receiving data from the peer",
	"Failed sending data to the peer",
	"Server returned nothing",
	"Timeout was reached",
	"was not closed cleanly",         // an HTTP/2 stream
	"was closed cleanly, but before", // the same
	"in the HTTP2 framing layer",
	"in the HTTP/2 framing layer",
	"SSL_ERROR_SYSCALL",
	"SSL_ERROR_ZERO_RETURN",
	"unexpected eof while reading",
	"The TLS connection was non-properly terminated",
	"A TLS packet with unexpected length was received",
	"Error in the pull function",
	"unexpected disconnect while reading sideband packet",
	"early EOF",
	"the remote end hung up",
	"The remote end hung up",
	"bytes of body are still expected",
	"expected flush after",
}
