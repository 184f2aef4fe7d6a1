package ec2test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// response is the answer to a call of EC2 or STS: a struct for encoding/xml that embeds head.
type response interface{ setRequestID(id string) }

type head struct {
	RequestID string `xml:"requestId"`
}

func (h *head) setRequestID(id string) { h.RequestID = id }

// action is one call of an API.
type action struct {
	mutating bool
	// do reads all parameters of a call, and answers it. The caller holds the lock. The do of a mutating action calls
	// params.dry itself, before its effect.
	do func(s *Server, p params, now time.Time) (any, error)
}

// actions has the calls that the server supports, by IAM's names.
var actions map[string]action

func init() { // not in the declaration, because throttling looks up actions
	actions = map[string]action{
		"ec2:RunInstances":                  {true, (*Server).runInstances},
		"ec2:TerminateInstances":            {true, (*Server).terminateInstances},
		"ec2:CreateTags":                    {true, (*Server).createTags},
		"ec2:CancelSpotInstanceRequests":    {true, (*Server).cancelSpotInstanceRequests},
		"ec2:ModifyInstanceMetadataOptions": {true, (*Server).modifyInstanceMetadataOptions},
		"ec2:DescribeInstances":             {false, (*Server).describeInstances},
		"ec2:DescribeInstanceStatus":        {false, (*Server).describeInstanceStatus},
		"ec2:DescribeInstanceAttribute":     {false, (*Server).describeInstanceAttribute},
		"ec2:DescribeSpotInstanceRequests":  {false, (*Server).describeSpotInstanceRequests},
		"ec2:DescribeSpotPriceHistory":      {false, (*Server).describeSpotPriceHistory},
		"ec2:DescribeVolumes":               {false, (*Server).describeVolumes},
		"ec2:DescribeNetworkInterfaces":     {false, (*Server).describeNetworkInterfaces},
		"ec2:DescribeVpcs":                  {false, (*Server).describeVpcs},
		"ec2:DescribeSubnets":               {false, (*Server).describeSubnets},
		"ec2:DescribeSecurityGroups":        {false, (*Server).describeSecurityGroups},
		"ec2:DescribeImages":                {false, (*Server).describeImages},
		"ec2:DescribeInstanceTypes":         {false, (*Server).describeInstanceTypes},
		"ec2:DescribeInstanceTypeOfferings": {false, (*Server).describeInstanceTypeOfferings},
		"ec2:GetConsoleOutput":              {false, (*Server).getConsoleOutput},
		"ssm:GetParameter":                  {false, (*Server).getParameter},
		"ssm:GetParameters":                 {false, (*Server).getParameters},
		"sts:GetCallerIdentity":             {false, (*Server).getCallerIdentity},
	}
}

// maxBody is the largest size of a request. EC2's limit is about the same.
const maxBody = 1 << 20

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c, parseErr := parseCall(r, body)
	fault := s.begin(c)
	half := s.opts.Latency / 2
	if fault.hang {
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
		fault.lost = before
	}
	// A request has its effect even if the client gives up.
	if !s.sleep(half+fault.delay) || fault.lost == before {
		s.finish(c, "lost")
		cut(r)
		return
	}
	var result any
	err = parseErr
	if err == nil && fault.code != "" {
		err = fail(fault.code, "%s", fault.message())
	}
	if err == nil {
		result, err = s.act(c)
	}
	if !s.sleep(s.opts.Latency-half) || fault.lost == after {
		s.finish(c, "lost")
		cut(r)
		return
	}
	var failed *apiError
	if err != nil && !errors.As(err, &failed) {
		failed = fail("InternalError", "ec2test: %v", err)
	}
	if failed != nil {
		s.finish(c, failed.code)
	} else {
		s.finish(c, "")
	}
	s.write(w, c, result, failed)
}

// cut resets the connection of a request.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		_ = reset(c)
	}
	panic(http.ErrAbortHandler)
}

// act does a call: it checks the caller, the rate and the parameters.
func (s *Server) act(c *call) (any, error) {
	now := s.lock()
	defer s.mu.Unlock()
	if err := s.authenticate(c, now.Add(s.skew)); err != nil {
		return nil, err
	}
	do, ok := actions[c.action]
	if !ok {
		return nil, fail("InvalidAction", "The action %s is not valid for this web service.", c.name())
	}
	if err := s.throttle.request(c, do, now); err != nil {
		return nil, err
	}
	if err := s.authorize(c); err != nil {
		return nil, err
	}
	p := newParams(c.form)
	result, err := do.do(s, p, now)
	if err == nil && c.service == "ec2" && !do.mutating {
		err = p.dry()
	}
	return result, err
}

func (s *Server) write(w http.ResponseWriter, c *call, result any, failed *apiError) {
	s.mu.Lock()
	skew := s.skew
	s.mu.Unlock()
	w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", c.id)
	status := http.StatusOK
	if failed != nil {
		status = failed.status
	}
	if c.service == "ssm" {
		if failed != nil {
			result = map[string]string{"__type": failed.code, "message": failed.message}
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(result) // a client that has gone away needs no answer
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	switch {
	case failed != nil && c.service == "sts":
		_, _ = fmt.Fprintf(w, "<ErrorResponse xmlns=\"%s\"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
			stsNamespace, failed.code, escape(failed.message), c.id)
	case failed != nil:
		_, _ = fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>",
			failed.code, escape(failed.message), c.id)
	default:
		namespace := "http://ec2.amazonaws.com/doc/" + ec2Version + "/"
		if c.service == "sts" {
			namespace = stsNamespace
		}
		root := xml.StartElement{Name: xml.Name{Local: c.name() + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}}}
		result.(response).setRequestID(c.id)
		_ = xml.NewEncoder(w).EncodeElement(result, root)
	}
}
