package ec2cloud_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth/internal/test/ec2test"
)

// TestAnswerThatBeginsBeforeItsBody: the SDK closes a request's body when the answer begins. That must not close the
// connection before the rest of the answer has come.
func TestAnswerThatBeginsBeforeItsBody(t *testing.T) {
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer := http.NewResponseController(w)
		_ = answer.EnableFullDuplex()
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusOK)
		_ = answer.Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		for range 100 {
			runtime.Gosched()
		}
		_, _ = io.WriteString(w, "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>")
	}))
	defer s.Close()
	r := newRig(t, ec2test.Options{Instant: true})
	cfg := r.opts.AWS
	cfg.HTTPClient, cfg.BaseEndpoint, r.opts.RateShare = nil, aws.String(s.URL), 1
	r.cloud = r.connect()
	const calls = 100 // as many as may be made at once
	for range calls {
		r.listed("")
	}
	if n := requests.Load(); n != calls {
		t.Errorf("%d requests for %d calls: some were repeated", n, calls)
	}
}

// TestDefaultChain: without Options.AWS, the SDK finds all settings itself.
func TestDefaultChain(t *testing.T) {
	r := newRig(t, ec2test.Options{Instant: true})
	url, err := r.server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": ec2test.AccessKey, "AWS_SECRET_ACCESS_KEY": secretKey,
		"AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	r.opts.AWS = nil
	r.cloud = r.connect()
	m, err := r.try("launch-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.listed(m.CloudID); got.LaunchID != "launch-1" {
		t.Errorf("%+v", got)
	}
	r.end(m.CloudID)
}

func TestExplain(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		m := r.launch("launch-1")
		explain := func() string {
			r.Helper()
			text, err := r.cloud.Explain(r.Context(), m.CloudID)
			if err != nil {
				r.Error(err)
			}
			return text
		}
		if got := explain(); got != "" {
			r.Errorf("%q", got)
		}
		r.server.WriteConsole(m.CloudID, "\x1b[1mcloud-init\x1b[0m: \x00fails\r\nkey AKIAIOSFODNN7EXAMPLE\n-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n")
		if got := explain(); got != "cloud-init: fails\nkey …\n…" {
			r.Errorf("%q", got)
		}
		r.server.WriteConsole(m.CloudID, strings.Repeat("a line of the console\n", 1000)+"the last")
		if got := explain(); len(got) > 4096 || !strings.HasPrefix(got, "a line") || !strings.HasSuffix(got, "console\nthe last") {
			r.Errorf("%d bytes: %q", len(got), got)
		}
		if _, err := r.cloud.Explain(r.Context(), "i-0123456789abcdef0"); err == nil {
			r.Error("an instance that never was")
		}
	})
}
