package credential

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Helper is git's credential helper: see gitcredentials(7). dir is the session's directory, and operation is git's: get, store or erase.
// For get, it writes what git reads. An error has a text for the user of git. Then git is told to quit, and asks nobody else.
func Helper(dir, operation string, in io.Reader, out io.Writer) error {
	if operation != "get" && operation != "erase" {
		return nil // nothing is stored, and git asks for no more
	}
	q := read(in)
	asked := q.url
	if asked == "" {
		return nil // not a remote of HTTP
	}
	if operation == "erase" {
		_, err := send(dir, request{URL: asked, Reject: true})
		return err
	}
	answer, err := send(dir, request{URL: asked, Push: pushes(os.Getppid()), Rejected: q.tries > 0})
	if err == nil && answer.Failed {
		err = errors.New(answer.Refusal)
	}
	if err == nil && strings.ContainsAny(answer.Username+answer.Password, "\n\r\x00") {
		err = errors.New("the credential holds a line break")
	}
	switch {
	case err != nil:
		fmt.Fprint(out, "quit=1\n")
		return fmt.Errorf("no credential for %s: %w", asked, err)
	case answer.Username == "" && answer.Password == "":
		return nil // git goes on as if there were no helper
	}
	again := ""
	if q.again && q.tries < maxTries {
		again = fmt.Sprintf("capability[]=state\nstate[]=%s%d\ncontinue=1\n", triesKey, q.tries+1)
	}
	_, err = fmt.Fprintf(out, "%susername=%s\npassword=%s\n", again, answer.Username, answer.Password)
	return err
}

// Git 2.46 and later ask again within one fetch or push when the remote refuses what continue=1 came with: a token may expire in the
// middle. The state tells how often.
const (
	triesKey = "berth.tries="
	maxTries = 2
)

// wish is what git asks.
type wish struct {
	url   string // without a user; "" = none of HTTP
	again bool   // git can ask again
	tries int    // how often it has been answered, and the remote has refused that
}

func read(in io.Reader) (q wish) {
	var u url.URL
	for lines := bufio.NewScanner(in); lines.Scan() && lines.Text() != ""; {
		switch name, value, _ := strings.Cut(lines.Text(), "="); name {
		case "protocol":
			u.Scheme = value
		case "host":
			u.Host = value
		case "path":
			u.Path = "/" + strings.TrimPrefix(value, "/")
		case "capability[]":
			q.again = q.again || value == "state"
		case "state[]":
			if n, ok := strings.CutPrefix(value, triesKey); ok {
				q.tries, _ = strconv.Atoi(n)
			}
		}
	}
	if (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		q.url = u.String()
	}
	return q
}

// send asks the agent, and waits for its answer.
func send(dir string, r request) (answer reply, err error) {
	if err := os.Chdir(dir); err != nil { // the path may be longer than the address of a socket
		return reply{}, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: Socket, Net: "unix"})
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(r); err != nil || r.Reject {
		return reply{}, err
	}
	if err := json.NewDecoder(io.LimitReader(conn, 2*wireSize)).Decode(&answer); err != nil {
		return reply{}, errors.New("the session is ending, or asks too much at once")
	}
	return answer, nil
}
