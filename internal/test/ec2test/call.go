package ec2test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	ec2Version   = "2016-11-15"
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/" + stsVersion + "/"
	ssmTarget    = "AmazonSSM."
)

// Request is a call as it arrived.
type Request struct {
	ID        string // the request ID of its answer
	Action    string // as IAM names it, e.g. "ec2:RunInstances"
	AccessKey string // that signed it
	Region    string // of the signature
	Attempt   int    // the SDK's count of tries, from 1; 0 if the request has none
	Form      url.Values
	UserData  []byte // decoded, of RunInstances
	Time      time.Time
	// Error is the code of the error in the answer: "" if the call succeeded, "lost" if there was no answer, "pending"
	// until then.
	Error string
}

// call is a Request on its way through the server.
type call struct {
	id, service, action string
	key, region, token  string
	signed              time.Time
	form                url.Values
	index               int // in Server.requests
	attempt             int
}

// name is the action without its service.
func (c *call) name() string {
	_, name, _ := strings.Cut(c.action, ":")
	return name
}

// parseCall reads a request. If it returns an error, the call has the parts that could be read.
func parseCall(r *http.Request, body []byte) (*call, error) {
	c := &call{service: "ec2", action: "ec2:", form: url.Values{}, token: r.Header.Get("X-Amz-Security-Token")}
	for part := range strings.SplitSeq(r.Header.Get("Amz-Sdk-Request"), ";") {
		if n, ok := strings.CutPrefix(strings.TrimSpace(part), "attempt="); ok {
			c.attempt, _ = strconv.Atoi(n)
		}
	}
	if err := c.parseSignature(r.Header); err != nil {
		return c, err
	}
	c.action = c.service + ":"
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return c, c.parseJSON(target, body)
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return c, fail("InvalidRequest", "ec2test: only POST requests with a form")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return c, fail("MalformedQueryString", "The query string is malformed: %v", err)
	}
	c.form = form
	c.action = c.service + ":" + form.Get("Action")
	if version := map[string]string{"ec2": ec2Version, "sts": stsVersion}[c.service]; form.Get("Version") != version {
		return c, fail("InvalidAction", "ec2test: %s speaks version %s, not %q", c.service, version, form.Get("Version"))
	}
	return c, nil
}

// parseJSON converts a call of SSM to the form of the other calls.
func (c *call) parseJSON(target string, body []byte) error {
	name, ok := strings.CutPrefix(target, ssmTarget)
	if !ok || c.service != "ssm" {
		return fail("UnknownOperationException", "ec2test: unknown target %q", target)
	}
	c.action = "ssm:" + name
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		return fail("SerializationException", "%v", err)
	}
	for name, value := range members {
		list, ok := value.([]any)
		if !ok {
			c.form.Set(name, fmt.Sprint(value))
		}
		for i, v := range list {
			c.form.Set(name+"."+strconv.Itoa(i+1), fmt.Sprint(v))
		}
	}
	return nil
}

// begin records a call, and decides its fault.
func (s *Server) begin(c *call) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids["request"]++
	c.id = fmt.Sprintf("00000000-0000-4000-8000-%012x", s.ids["request"])
	c.index = len(s.requests)
	data, _ := base64.StdEncoding.DecodeString(c.form.Get("UserData")) // text that is not base64 stays in Form
	s.requests = append(s.requests, Request{
		ID: c.id, Action: c.action, AccessKey: c.key, Region: c.region, Attempt: c.attempt,
		Form: c.form, UserData: data, Time: time.Now(), Error: "pending",
	})
	s.calls[c.action]++
	return s.faults.pick(c.action)
}

func (s *Server) finish(c *call, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[c.index].Error = code
}

// Requests returns all calls of an action so far, in the order in which they arrived. "" means all actions.
func (s *Server) Requests(action string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []Request
	for _, r := range s.requests {
		if action == "" || r.Action == action {
			r.Form, r.UserData = maps.Clone(r.Form), slices.Clone(r.UserData)
			some = append(some, r)
		}
	}
	return some
}

// Calls returns how many calls of an action arrived, including those that failed.
func (s *Server) Calls(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[action]
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
