package ec2cloud

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// maxConsole is how many bytes of a console are told: its end.
const maxConsole = 4 << 10

// Explain returns the end of what an instance has written on its console: why it does not boot. "" = nothing yet, which
// is so for minutes after the launch.
func (c *Cloud) Explain(ctx context.Context, cloudID string) (string, error) {
	in := &ec2.GetConsoleOutputInput{InstanceId: &cloudID, Latest: aws.Bool(true)}
	out, err := call(ctx, c.limits.read, actGetConsoleOutput, c.ec2.GetConsoleOutput, in)
	if saysCode(err, "UnsupportedOperation") { // by older instance types: they show what they have shown at boot
		in.Latest = nil
		out, err = call(ctx, c.limits.read, actGetConsoleOutput, c.ec2.GetConsoleOutput, in)
	}
	if err != nil {
		return "", fmt.Errorf("the console of %s: %w", cloudID, err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", fmt.Errorf("the console of %s: %w", cloudID, err)
	}
	return tail(scrub(string(text))), nil
}

// tail returns the last whole lines of a text.
func tail(text string) string {
	text = strings.TrimSpace(text)
	if len(text) <= maxConsole {
		return text
	}
	text = text[len(text)-maxConsole:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return strings.ToValidUTF8(text, "")
}
