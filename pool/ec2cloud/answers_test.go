package ec2cloud_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// TestAnswersAreReadInOneFile: only the files answers*.go read the pointers and lists of an answer.
// request.go reads stored requests.
func TestAnswersAreReadInOneFile(t *testing.T) {
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "answers") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := s.X.(*ast.Ident)
			if !ok {
				return true
			}
			reads := of.Name == "aws" && strings.HasPrefix(s.Sel.Name, "To") && name != "request.go"
			answer := (of.Name == "ec2" || of.Name == "ssm" || of.Name == "sts") && strings.HasSuffix(s.Sel.Name, "Output") && s.Sel.Name != "GetConsoleOutput"
			if reads || answer {
				t.Errorf("%s: %s.%s: read it in answers*.go", set.Position(s.Pos()), of.Name, s.Sel.Name)
			}
			return true
		})
	}
}

// calls are the calls that the driver makes, each with a function that makes it and returns its error.
var calls = map[string]func(r *rig, m pool.Machine) error{
	run: func(r *rig, _ pool.Machine) error { _, err := r.try("launch-2"); return err },
	list: func(r *rig, m pool.Machine) error {
		_, err := r.cloud.List(r.Context())
		return err
	},
	terminate: func(r *rig, m pool.Machine) error {
		failed, err := r.cloud.Terminate(r.Context(), m.CloudID)
		return errors.Join(err, failed[m.CloudID])
	},
	"ec2:GetConsoleOutput":              func(r *rig, m pool.Machine) error { _, err := r.cloud.Explain(r.Context(), m.CloudID); return err },
	status:                              passOver,
	spotStatus:                          passOver,
	"ec2:DescribeImages":                planAnew,
	"ec2:DescribeSubnets":               planAnew,
	"ec2:DescribeInstanceTypes":         planAnew,
	getParam:                            planAnew,
	describeVpcs:                        preflight,
	"ec2:DescribeSecurityGroups":        preflight,
	"sts:GetCallerIdentity":             preflight,
	"ec2:DescribeInstanceTypeOfferings": preflight,
	"ec2:CancelSpotInstanceRequests":    preflight,
}

// passOver asks for outlooks. The driver only logs a failure of that.
func passOver(r *rig, _ pool.Machine) error {
	time.Sleep(5 * time.Minute)
	_, err := r.cloud.List(r.Context())
	return err
}

// planAnew asks for everything that a launch depends on.
func planAnew(r *rig, _ pool.Machine) error {
	r.cloud = r.connect()
	_, err := r.cloud.Plan(r.Context())
	return err
}

func preflight(r *rig, _ pool.Machine) error { return r.cloud.Preflight(r.Context()) }

// mayFail are the calls that the driver can do without.
var mayFail = []string{status, spotStatus, describeVpcs, "ec2:DescribeSecurityGroups", "sts:GetCallerIdentity",
	"ec2:DescribeInstanceTypeOfferings", "ec2:CancelSpotInstanceRequests", "ec2:DescribeInstanceTypes"}

// liar answers one action differently from the server.
type liar struct {
	next   http.RoundTripper
	action string
	lie    func(status int, honest []byte) (int, []byte)
	told   int // lies
	honest []byte
}

// RoundTrip implements http.RoundTripper.
func (l *liar) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	action, _ := actionOf(q, string(body))
	q = q.Clone(q.Context())
	q.Body = io.NopCloser(bytes.NewReader(body))
	a, err := l.next.RoundTrip(q)
	if err != nil || action != l.action || l.lie == nil {
		return a, err
	}
	honest, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, err
	}
	l.honest = honest
	l.told++
	a.StatusCode, body = l.lie(a.StatusCode, honest)
	a.Header = http.Header{"Content-Type": a.Header["Content-Type"]}
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return a, nil
}

// lyingRig runs a test with an instance of the pool and one of another store. The answers to one action are then lies.
func lyingRig(t *testing.T, action string, lie func(int, []byte) (int, []byte), check func(r *rig, l *liar, err error)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, quick)
		r.engineGroup()
		r.opts.Spot, r.opts.PoolUID = ec2cloud.SpotFirst, "uid-1"
		l := &liar{next: r.server.Client().Transport, action: action}
		r.opts.AWS.HTTPClient = &http.Client{Transport: l}
		r.cloud = r.connect()
		m := r.launch("launch-1")
		other := spec("launch-of-another")
		other.PoolUID = "uid-of-another"
		f, err := r.cloud.Prepare(r.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := r.cloud.Launch(r.Context(), "launch-of-another", f)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		l.lie = lie
		err = calls[action](r, m)
		if l.told == 0 {
			t.Fatalf("%s was not called", action)
		}
		check(r, l, err)
		l.lie = nil
		byToken := make(map[string]int)
		for _, i := range r.server.Instances() {
			byToken[i.ClientToken]++
			if i.ID == foreign.CloudID && i.State != ec2test.Running {
				t.Errorf("an instance of another store is %s", i.State)
			}
		}
		for id, n := range byToken {
			if n > 1 && id != "" {
				t.Errorf("launch %s has %d instances", id, n)
			}
		}
		all, err := r.cloud.List(r.Context())
		if err != nil {
			t.Errorf("once the answers are honest again: %v", err)
		}
		for _, m := range all {
			if m.CloudID == foreign.CloudID && m.PoolUID != "uid-of-another" {
				t.Errorf("that of another store is shown as %+v", m)
			}
		}
	})
}

// told expects an error that names the call, unless the driver can do without the call.
func (r *rig) told(action string, err error) {
	r.Helper()
	_, name, _ := strings.Cut(action, ":")
	switch {
	case err == nil && !slices.Contains(mayFail, action):
		r.Errorf("%s: no error", action)
	case err != nil && !strings.Contains(err.Error(), name):
		r.Errorf("the error does not name %s: %v", action, err)
	}
}

// TestAnswersThatAreNone: an answer that does not come from AWS is an error that names the call. For Preflight it is a
// transient error, which does not ask for other settings.
func TestAnswersThatAreNone(t *testing.T) {
	const page = "<!DOCTYPE html><html><head><title>503</title></head><body><h1>Service Unavailable</h1></body></html>"
	lies := map[string]func(int, []byte) (int, []byte){
		"a page with 503":         func(int, []byte) (int, []byte) { return 503, []byte(page) },
		"a page with 200":         func(int, []byte) (int, []byte) { return 200, []byte(page) },
		"a page with 429":         func(int, []byte) (int, []byte) { return 429, []byte(page) },
		"nothing with 200":        func(int, []byte) (int, []byte) { return 200, nil },
		"nothing with 502":        func(int, []byte) (int, []byte) { return 502, nil },
		"half of it":              func(s int, b []byte) (int, []byte) { return s, b[:len(b)/2] },
		"all but the end":         func(s int, b []byte) (int, []byte) { return s, bytes.TrimSpace(b)[:len(bytes.TrimSpace(b))-2] },
		"text":                    func(int, []byte) (int, []byte) { return 200, []byte("upstream connect error") },
		"a list of JSON":          func(int, []byte) (int, []byte) { return 200, []byte("[]") },
		"null":                    func(int, []byte) (int, []byte) { return 200, []byte("null") },
		"an error without a code": func(int, []byte) (int, []byte) { return 500, []byte("<Response><Errors/></Response>") },
	}
	for n, name := range slices.Sorted(maps.Keys(lies)) {
		lie := lies[name]
		for i, action := range slices.Sorted(maps.Keys(calls)) {
			if !testenv.Soak() && (i+n)%3 != 0 {
				continue // each lie is told of some calls, and each call meets some lies: a soak test tells all of each
			}
			t.Run(action+" "+name, func(t *testing.T) {
				lyingRig(t, action, lie, func(r *rig, _ *liar, err error) {
					r.told(action, err)
					r.cloud = r.connect()
					err = r.cloud.Preflight(r.Context())
					var e *ec2cloud.PreflightError
					switch {
					case err == nil && (slices.Contains(mayFail, action) || action == terminate || action == "ec2:GetConsoleOutput"):
					case err == nil:
						r.Errorf("Preflight finds nothing")
					case !errors.As(err, &e) || !e.Retryable() || strings.Contains(err.Error(), "correct Options"):
						r.Errorf("it goes by, and Preflight says %v", err)
					}
				})
			})
		}
	}
}

var element = regexp.MustCompile(`<([A-Za-z]+)(?: [^>]*)?>|"([A-Za-z]+)":`)

// TestAnswersThatLack omits, empties, doubles and misspells each element of each answer in turn. Nothing panics, no launch is
// counted twice, and the instances of another store stay.
func TestAnswersThatLack(t *testing.T) {
	if testing.Short() && os.Getenv("CI") != "true" {
		t.Skip("skipped by -short: it makes some thousand calls")
	}
	for action := range calls {
		var honest []byte
		lyingRig(t, action, func(s int, b []byte) (int, []byte) { return s, b }, func(r *rig, l *liar, err error) {
			if err != nil {
				r.Errorf("%s: honest answers: %v", action, err)
			}
			honest = l.honest
		})
		seen := make(map[string]bool)
		for _, m := range element.FindAllStringSubmatch(string(honest), -1) {
			name := m[1] + m[2]
			if seen[name] {
				continue
			}
			seen[name] = true
			for i, what := range slices.Sorted(maps.Keys(liesAbout(name))) {
				if !testenv.Soak() && i != len(seen)%5 {
					continue // each lie is told of many elements: a soak test tells all of each
				}
				lie := liesAbout(name)[what]
				lied := func(s int, b []byte) (int, []byte) { return s, lie(b) }
				t.Run(fmt.Sprintf("%s %s %s", action, name, what), func(t *testing.T) {
					lyingRig(t, action, lied, func(r *rig, _ *liar, err error) {
						_, call, _ := strings.Cut(action, ":")
						if err != nil && !strings.Contains(err.Error(), call) && !sensible.MatchString(err.Error()) {
							r.Errorf("%v", err)
						}
					})
				})
			}
		}
	}
}

// sensible are errors that a lie in an answer may cause.
var sensible = regexp.MustCompile(`(?i)does not exist|no instance type|no default VPC|not shared|opens TCP port|is for |launch is over|does not carry|its tags|has no architecture|free address|no zone|not all subnets do|subnets .* exists in`)

// liesAbout are changes of an element of XML or a field of JSON.
func liesAbout(name string) map[string]func([]byte) []byte {
	xml := regexp.MustCompile(`(?s)<` + name + `(?: [^>]*)?>(.*?)</` + name + `>`)
	json := regexp.MustCompile(`"` + name + `":("[^"]*"|[0-9.]+|true|false)`)
	both := func(x, j string) func([]byte) []byte {
		return func(b []byte) []byte { return json.ReplaceAll(xml.ReplaceAll(b, []byte(x)), []byte(j)) }
	}
	return map[string]func([]byte) []byte{
		"is missing": both("", `"x":""`),
		"is empty":   both("<"+name+"/>", `"`+name+`":null`),
		"is text":    both("<"+name+">frobnicated</"+name+">", `"`+name+`":{"a":[]}`),
		"is twice":   both("$0$0", `$0,$0`),
		"is shouted": func(b []byte) []byte { return xml.ReplaceAllFunc(b, upper) },
	}
}

// upper puts the text of an element into upper case.
func upper(b []byte) []byte {
	begin, end := bytes.IndexByte(b, '>')+1, bytes.LastIndex(b, []byte("</"))
	if bytes.ContainsRune(b[begin:end], '<') {
		return b
	}
	return slices.Concat(b[:begin], bytes.ToUpper(b[begin:end]), b[end:])
}

// FuzzAnswers answers each call with arbitrary text. Of the answers to begin with, each call gets those that could be its own,
// and those that are no call's.
func FuzzAnswers(f *testing.F) {
	names := slices.Sorted(maps.Keys(calls))
	own := regexp.MustCompile(`^<([A-Z][A-Za-z]+)Response>|^{"(Parameter)"`)
	for n, name := range names {
		for _, body := range []string{
			"", "{}", "null", `{"Parameter":null}`, `{"Parameter":{}}`, `{"Parameter":{"Value":7}}`, `<RunInstancesResponse/>`,
			`<RunInstancesResponse><instancesSet><item/></instancesSet></RunInstancesResponse>`,
			`<DescribeInstancesResponse><reservationSet><item><instancesSet><item/><item><instanceId/></item></instancesSet></item></reservationSet><nextToken>x</nextToken></DescribeInstancesResponse>`,
			`<DescribeInstanceStatusResponse><instanceStatusSet><item><eventsSet><item/></eventsSet><systemStatus/></item></instanceStatusSet></DescribeInstanceStatusResponse>`,
			`<DescribeImagesResponse><imagesSet><item><blockDeviceMapping><item/></blockDeviceMapping></item></imagesSet></DescribeImagesResponse>`,
			`<DescribeSecurityGroupsResponse><securityGroupInfo><item><ipPermissions><item/></ipPermissions></item></securityGroupInfo></DescribeSecurityGroupsResponse>`,
			`<DescribeVpcsResponse><vpcSet><item><cidrBlockAssociationSet><item/></cidrBlockAssociationSet></item></vpcSet></DescribeVpcsResponse>`,
			`<GetConsoleOutputResponse><output>%%%</output></GetConsoleOutputResponse>`,
			`<XResponse><a><b></XResponse>`,
		} {
			if of := own.FindStringSubmatch(body); of != nil && of[1] != "X" && !strings.HasSuffix(name, of[1]+of[2]) {
				continue
			}
			f.Add(uint8(n), uint16(200), []byte(body))
			if len(body) < 5 { // of an error, the body says little
				f.Add(uint8(n), uint16(400), []byte(body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, status uint16, body []byte) {
		action := names[int(n)%len(names)]
		lyingRig(t, action, func(int, []byte) (int, []byte) { return 100 + int(status)%500, body }, func(*rig, *liar, error) {})
	})
}

// TestAnswerOfAnotherLaunch: an answer to RunInstances that names an instance of another launch, such as one that a proxy has
// delivered twice, gives no machine, and the other launch is not touched.
func TestAnswerOfAnotherLaunch(t *testing.T) {
	for name, hide := range map[string]string{"with its tags": "^$", "without tags": `(?s)<tagSet>.*?</tagSet>`, "without a token": `<clientToken>.*?</clientToken>`} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, nil, func(r *rig) {
				var first []byte
				l := &liar{next: r.server.Client().Transport, action: run}
				l.lie = func(s int, b []byte) (int, []byte) {
					if first == nil {
						first = regexp.MustCompile(hide).ReplaceAll(b, nil)
						return s, b
					}
					return s, first
				}
				r.opts.AWS.HTTPClient = &http.Client{Transport: l}
				r.cloud = r.connect()
				one := r.launch("launch-1")
				m, err := r.try("launch-2")
				r.want(err, nil)
				if m.CloudID != "" || !strings.Contains(err.Error(), "RunInstances") {
					r.Errorf("%+v, %v", m, err)
				}
				if r.server.Instance(one.CloudID).State != ec2test.Running {
					r.Error("the first one has ended")
				}
			})
		})
	}
}
