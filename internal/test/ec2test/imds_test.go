package ec2test_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ask asks a metadata service; headers are pairs of names and values.
func ask(h http.Handler, method, path string, headers ...string) (int, string) {
	r := httptest.NewRequest(method, "http://169.254.169.254"+path, nil)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestMetadata(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		const data = "#!/bin/sh\ntrue\n"
		id := b.launch(spot, func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(data)))
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired}
		})
		m := b.server.Metadata(id)
		const ttl, header = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
		for _, c := range []struct {
			method, path string
			headers      []string
			want         int
		}{
			{"GET", "/latest/meta-data/instance-id", nil, 401},
			{"GET", "/latest/meta-data/instance-id", []string{header, "made-up"}, 401},
			{"GET", "/latest/api/token", []string{ttl, "60"}, 405},
			{"PUT", "/latest/api/token", nil, 400},
			{"PUT", "/latest/api/token", []string{ttl, "0"}, 400},
			{"PUT", "/latest/api/token", []string{ttl, "21601"}, 400},
			{"PUT", "/latest/api/token", []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		} {
			if got, _ := ask(m, c.method, c.path, c.headers...); got != c.want {
				t.Errorf("%s %s with %q: %d, want %d", c.method, c.path, c.headers, got, c.want)
			}
		}
		_, token := ask(m, "PUT", "/latest/api/token", ttl, "3600")
		want := func(path, text string) {
			t.Helper()
			if code, got := ask(m, "GET", path, header, token); code != 200 && text != "" || code == 200 && got != strings.TrimSpace(text) {
				t.Errorf("%s: %d, %q; want %q", path, code, got, text)
			}
		}
		want("/2021-03-23/meta-data/instance-id", id)
		want("/latest/user-data", data)
		want("/latest/meta-data/placement/", "availability-zone\nregion")
		want("/latest/", "dynamic/\nmeta-data/\nuser-data")
		want("/latest/meta-data/spot/instance-action", "")
		want("/latest/meta-data/events/recommendations/rebalance", "")
		b.server.Rebalance(id)
		b.server.InterruptSpot(id)
		now := time.Now().UTC()
		want("/latest/meta-data/spot/instance-action", `{"action":"terminate","time":"`+now.Add(2*time.Minute).Format(time.RFC3339)+`"}`)
		want("/latest/meta-data/events/recommendations/rebalance", `{"noticeTime":"`+now.Format(time.RFC3339)+`"}`)
		time.Sleep(time.Hour)
		if code, _ := ask(m, "GET", "/latest/user-data", header, token); code != 401 {
			t.Errorf("with a token that has expired: %d", code)
		}
	})
}
