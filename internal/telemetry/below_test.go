package telemetry_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-go/berth/internal/test/ec2world"
)

// contexts notes the spans in the contexts of an AWS client's requests.
type contexts struct {
	aws.HTTPClient
	mu    sync.Mutex // protects spans
	spans map[string]trace.SpanContext
}

// Do implements aws.HTTPClient.
func (c *contexts) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("DryRun") == "" {
		c.mu.Lock()
		c.spans[form.Get("Action")] = trace.SpanContextFromContext(r.Context())
		c.mu.Unlock()
	}
	return c.HTTPClient.Do(r)
}

// TestTheTraceGoesOnIntoTheAWSSDK: a program that instruments the SDK sees its requests below berth's spans.
func TestTheTraceGoesOnIntoTheAWSSDK(t *testing.T) {
	ec2world.Run(t, func(a *ec2world.Account) {
		spans, tracers := recorder()
		client := &contexts{HTTPClient: a.Config.EC2.AWS.HTTPClient, spans: make(map[string]trace.SpanContext)}
		cfg := a.Config
		with := *cfg.EC2.AWS
		with.HTTPClient = client
		cfg.EC2.AWS, cfg.TracerProvider, cfg.MinInstances = &with, tracers, 1
		p := a.NewProvider(cfg)
		for deadline := time.Now().Add(time.Hour); len(spans.named("berth.cloud launch")) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Second)
		}
		p.Close()
		client.mu.Lock()
		defer client.mu.Unlock()
		launch, request := spans.only(t, "berth.cloud launch"), client.spans["RunInstances"]
		if request.TraceID() != launch.SpanContext().TraceID() || request.SpanID() != launch.SpanContext().SpanID() {
			t.Errorf("the request has the span %v; want %v", request, launch.SpanContext())
		}
	})
}
