package ec2cloud

//lint:file-ignore SA1019 A user may still set the old EndpointResolverWithOptions.

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	smithyauth "github.com/aws/smithy-go/auth"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ssmClient makes the one call of SSM that berth needs, with a client of EC2 whose endpoint, signature, request and answer
// are replaced by those of SSM. So its retries, credentials and logs are the SDK's. The SDK's own client of SSM has 160,000
// lines, which every program that imports berth would have to compile.
type ssmClient struct{ ec2 *ec2.Client }

func newSSMClient(cfg aws.Config) ssmClient {
	return ssmClient{ec2.NewFromConfig(cfg, func(o *ec2.Options) {
		o.HTTPClient, o.Retryer = wire{o.HTTPClient, wholeJSON}, newRetryer()
		o.BaseEndpoint = ssmEndpoint(context.Background(), cfg)
		o.EndpointResolverV2 = ssmEndpoints{ec2.NewDefaultEndpointResolverV2()}
		o.AuthSchemeResolver = ssmAuth{}
		if old := cfg.EndpointResolverWithOptions; old != nil {
			o.EndpointResolver = ec2.EndpointResolverFunc(func(region string, opts ec2.EndpointResolverOptions) (aws.Endpoint, error) {
				found, err := old.ResolveEndpoint("SSM", region, opts)
				found.SigningName = cmp.Or(found.SigningName, "ssm")
				return found, err
			})
		}
	})}
}

// ssmEndpoint returns the endpoint of SSM in the user's configuration, as the SDK's client of SSM finds it; nil = it names
// none.
func ssmEndpoint(ctx context.Context, cfg aws.Config) *string {
	_, forAll := os.LookupEnv("AWS_ENDPOINT_URL")
	if _, forSSM := os.LookupEnv("AWS_ENDPOINT_URL_SSM"); forAll && !forSSM {
		return cfg.BaseEndpoint
	}
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetIgnoreConfiguredEndpoints(context.Context) (value, found bool, err error)
		})
		if !ok {
			continue
		}
		if ignore, found, err := s.GetIgnoreConfiguredEndpoints(ctx); found && ignore {
			return cfg.BaseEndpoint
		} else if found || err != nil {
			break
		}
	}
	for _, source := range cfg.ConfigSources {
		s, ok := source.(interface {
			GetServiceBaseEndpoint(ctx context.Context, service string) (value string, found bool, err error)
		})
		if !ok {
			continue
		}
		if url, found, err := s.GetServiceBaseEndpoint(ctx, "SSM"); err != nil {
			break
		} else if found {
			return &url
		}
	}
	return cfg.BaseEndpoint
}

// ssmEndpoints finds the endpoints of SSM. AWS has the same rules for them as for those of EC2, but for the name.
type ssmEndpoints struct{ ec2.EndpointResolverV2 }

// ResolveEndpoint implements [ec2.EndpointResolverV2].
func (e ssmEndpoints) ResolveEndpoint(ctx context.Context, p ec2.EndpointParameters) (smithyendpoints.Endpoint, error) {
	found, err := e.EndpointResolverV2.ResolveEndpoint(ctx, p)
	if err == nil && p.Endpoint == nil {
		found.URI.Host = "ssm" + strings.TrimPrefix(found.URI.Host, "ec2")
	}
	return found, err
}

// ssmAuth makes the signatures those for SSM.
type ssmAuth struct{}

// ResolveAuthSchemes implements [ec2.AuthSchemeResolver].
func (ssmAuth) ResolveAuthSchemes(_ context.Context, p *ec2.AuthResolverParameters) ([]*smithyauth.Option, error) {
	sigV4 := &smithyauth.Option{SchemeID: smithyauth.SchemeIDSigV4}
	smithyhttp.SetSigV4SigningName(&sigV4.SignerProperties, "ssm")
	smithyhttp.SetSigV4SigningRegion(&sigV4.SignerProperties, p.Region)
	return []*smithyauth.Option{sigV4}, nil
}

// parameterInput is the request of GetParameter.
type parameterInput struct{ Name string }

// GetParameter returns a parameter.
func (c ssmClient) GetParameter(ctx context.Context, in *parameterInput, opts ...func(*ec2.Options)) (*parameterOutput, error) {
	var out *parameterOutput
	write := func(ctx context.Context, s middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
		if err := writeSSM(s.Request, in); err != nil {
			return middleware.SerializeOutput{}, middleware.Metadata{}, &smithy.SerializationError{Err: err}
		}
		return next.HandleSerialize(ctx, s)
	}
	read := func(ctx context.Context, d middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		answer, metadata, err := next.HandleDeserialize(ctx, d)
		if err == nil {
			out, err = readSSM(answer.RawResponse)
		}
		answer.Result = noRegions() // of the type that the client expects
		return answer, metadata, err
	}
	_, err := c.ec2.DescribeRegions(ctx, &ec2.DescribeRegionsInput{}, append(opts, func(o *ec2.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			const writer, reader = "OperationSerializer", "OperationDeserializer"
			_, err := stack.Serialize.Swap(writer, middleware.SerializeMiddlewareFunc(writer, write))
			_, err2 := stack.Deserialize.Swap(reader, middleware.DeserializeMiddlewareFunc(reader, read))
			return errors.Join(err, err2)
		})
	})...)
	if e, ok := errors.AsType[*smithy.OperationError](err); ok {
		e.ServiceID, e.OperationName = "SSM", "GetParameter"
	}
	return out, err
}

// writeSSM makes a request one of GetParameter.
func writeSSM(request any, in *parameterInput) error {
	r, ok := request.(*smithyhttp.Request)
	if !ok {
		return fmt.Errorf("the request is a %T", request)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r.Method, r.URL.Path = http.MethodPost, "/"
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParameter")
	written, err := r.SetStream(bytes.NewReader(body))
	if err == nil {
		*r = *written
	}
	return err
}
