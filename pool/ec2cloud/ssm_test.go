package ec2cloud_test

//lint:file-ignore SA1019 A user may still set the old EndpointResolverWithOptions.

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/berth-go/berth/pool/ec2cloud"
)

// recorder is an HTTP client that keeps the last request, as far as two clients send the same, and refuses it.
type recorder struct{ last string }

var scope = regexp.MustCompile(`Credential=\S+?/\d+/(\S+?),`)

func (c *recorder) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	c.last = fmt.Sprintln(r.Method, r.URL, r.Host, r.Header.Get("Content-Type"), r.Header.Get("X-Amz-Target"), string(body),
		scope.FindStringSubmatch(r.Header.Get("Authorization")))
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"X-Amzn-Errortype": {"ParameterNotFound:http://x/"}},
		Body: io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"none"}`)),
	}, err
}

// TestSSMRequestIsTheSDKs compares the request of GetParameter with that of the SDK's own client of SSM: its address,
// its signature and its content.
func TestSSMRequestIsTheSDKs(t *testing.T) {
	services := filepath.Join(t.TempDir(), "config")
	text := "[default]\nservices = here\n[services here]\nssm =\n  endpoint_url = https://ssm.shared.example/at\n"
	if err := os.WriteFile(services, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []map[string]string{
		{},
		{"AWS_USE_FIPS_ENDPOINT": "true"},
		{"AWS_USE_DUALSTACK_ENDPOINT": "true"},
		{"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
		{"AWS_ENDPOINT_URL": "https://all.example"},
		{"AWS_ENDPOINT_URL_SSM": "https://ssm.example:8443/below"},
		{"AWS_ENDPOINT_URL": "https://all.example", "AWS_ENDPOINT_URL_SSM": "https://ssm.example"},
		{"AWS_ENDPOINT_URL_EC2": "https://ec2.example"},
		{"AWS_ENDPOINT_URL_SSM": "https://ssm.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
		{"AWS_ENDPOINT_URL_SSM": "https://ssm.example", "AWS_USE_FIPS_ENDPOINT": "true"},
		{"AWS_CONFIG_FILE": services},
		{"AWS_CONFIG_FILE": services, "AWS_ENDPOINT_URL": "https://all.example"},
		{"AWS_CONFIG_FILE": services, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
	}
	regions := []string{
		"us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1",
		"us-isof-south-1", "eusc-de-east-1", "us-east-1-fips", "mars-north-1",
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	for _, set := range settings {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
			for name, value := range set {
				t.Setenv(name, value)
			}
			loaded, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion(regions[0]))
			if err != nil {
				t.Fatal(err)
			}
			for _, region := range regions {
				for _, change := range changes {
					cfg := loaded.Copy()
					cfg.Region = region
					change(&cfg)
					compareSSM(t, cfg)
				}
			}
		})
	}
}

// changes are settings that only a program can make.
var changes = []func(*aws.Config){
	func(*aws.Config) {},
	func(c *aws.Config) { c.BaseEndpoint = aws.String("https://base.example") },
	func(c *aws.Config) {
		c.EndpointResolverWithOptions = aws.EndpointResolverWithOptionsFunc(
			func(service, region string, _ ...any) (aws.Endpoint, error) {
				return aws.Endpoint{URL: "https://" + strings.ToLower(service) + ".old.example"}, nil
			})
	},
}

// compareSSM makes the call with both clients.
func compareSSM(t *testing.T, cfg aws.Config) {
	t.Helper()
	var sdk, ours recorder
	cfg.HTTPClient = &sdk
	_, wantErr := ssm.NewFromConfig(cfg).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/a/b")})
	cfg.HTTPClient = &ours
	err := ec2cloud.GetParameter(t.Context(), cfg, "/a/b")
	if ours.last != sdk.last {
		t.Errorf("in %s: sent %s\nwant %s", cfg.Region, ours.last, sdk.last)
	}
	var api smithy.APIError
	if errors.As(wantErr, &api) != errors.As(err, &api) || api != nil && api.ErrorCode() != "ParameterNotFound" {
		t.Errorf("%v\nwant %v", err, wantErr)
	}
	if api != nil && !strings.Contains(ours.last, "AmazonSSM.GetParameter") {
		t.Errorf("sent %q", ours.last)
	}
}

// TestSSMCallsAtOnce is for the race detector.
func TestSSMCallsAtOnce(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				err := ec2cloud.GetParameter(r.Context(), *r.opts.AWS, "/there/is/none")
				if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "ParameterNotFound" {
					r.Errorf("%v", err)
				}
			})
		}
		all.Wait()
	})
}
