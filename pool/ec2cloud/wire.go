package ec2cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// wire is the SDK's HTTP client.
//
// It reads a request's body before it sends the request. The SDK closes the body as soon as Do returns, while net/http may
// still read from it; then the read fails, and net/http closes the connection although an answer is on its way.
//
// It reads an answer to its end. The SDK takes an empty answer, one that is cut off between two elements, or a proxy's page
// of HTML, for an answer that holds nothing.
type wire struct {
	aws.HTTPClient
	whole func(body []byte) bool // reports whether the answer to a call that succeeded is complete
}

// maxAnswer is how many bytes an answer may have. A page of 1,000 instances has about 5 MB.
const maxAnswer = 64 << 20

// errNoAnswerOfAWS says that an answer reports success, and does not look like an answer of AWS.
var errNoAnswerOfAWS = errors.New("the answer is empty, cut off, or not from AWS: a proxy may have sent it")

// Do implements aws.HTTPClient.
func (w wire) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		changed := *r
		changed.Body = io.NopCloser(bytes.NewReader(body))
		r = &changed
	}
	answer, err := w.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	_ = answer.Body.Close() // it was read to its end, or the read has failed
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w (%w)", errNoAnswerOfAWS, err)
	case len(body) > maxAnswer, answer.StatusCode/100 == 2 && !w.whole(body), cutOff(body) && !w.whole(body):
		return nil, errNoAnswerOfAWS
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// cutOff reports whether an answer that is not whole was cut off, because it begins like one of AWS. An emulator may also
// refuse a call with a page of HTML or a single word.
func cutOff(body []byte) bool {
	for _, begins := range []string{"<?xml", "<Response", "<ErrorResponse", "{"} {
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte(begins)) {
			return true
		}
	}
	return false
}

// wholeXML reports whether an answer is one element whose name ends with Response, as with EC2 and STS.
func wholeXML(body []byte) bool {
	body = bytes.TrimSpace(body)
	for bytes.HasPrefix(body, []byte("<?")) || bytes.HasPrefix(body, []byte("<!--")) {
		_, rest, ok := bytes.Cut(body, []byte(">"))
		if !ok {
			return false
		}
		body = bytes.TrimSpace(rest)
	}
	body, ok := bytes.CutPrefix(body, []byte("<"))
	end := bytes.IndexAny(body, " \t\r\n/>")
	if !ok || end <= 0 || !bytes.HasSuffix(body[:end], []byte("Response")) {
		return false
	}
	name := body[:end]
	return bytes.HasSuffix(body, fmt.Appendf(nil, "</%s>", name)) || bytes.HasSuffix(body, []byte("/>")) && bytes.Count(body, []byte("<")) == 0
}

// wholeJSON reports whether an answer is an object.
func wholeJSON(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) && json.Valid(body)
}
