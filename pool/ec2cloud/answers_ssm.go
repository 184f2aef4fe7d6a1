package ec2cloud

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/restjson"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// parameterOutput is the answer to a GetParameter.
type parameterOutput struct{ Parameter *struct{ Value string } }

// noRegions returns the result of the client of EC2 for a GetParameter; see ssmClient. The client writes to it.
func noRegions() *ec2.DescribeRegionsOutput { return new(ec2.DescribeRegionsOutput) }

// readSSM reads the answer to a GetParameter.
func readSSM(response any) (*parameterOutput, error) {
	r, ok := response.(*smithyhttp.Response)
	if !ok {
		return nil, &smithy.DeserializationError{Err: fmt.Errorf("the answer is a %T", response)}
	}
	body := json.NewDecoder(r.Body)
	if r.StatusCode/100 != 2 {
		code, message, err := restjson.GetErrorInfo(body)
		if err != nil {
			return nil, &smithy.DeserializationError{Err: err}
		}
		code = cmp.Or(r.Header.Get("X-Amzn-ErrorType"), code, "UnknownError")
		return nil, &smithy.GenericAPIError{Code: restjson.SanitizeErrorCode(code), Message: cmp.Or(message, "UnknownError")}
	}
	var out parameterOutput
	if err := body.Decode(&out); err != nil {
		return nil, &smithy.DeserializationError{Err: err}
	}
	return &out, nil
}

func readParameter(out *parameterOutput) (string, error) {
	if out.Parameter == nil || out.Parameter.Value == "" {
		return "", fmt.Errorf("SSM answered without a value: %w", errIncomplete)
	}
	return out.Parameter.Value, nil
}
