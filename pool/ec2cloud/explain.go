package ec2cloud

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// maxConsole is how many bytes of a console's end Explain returns.
const maxConsole = 4 << 10

// Explain returns the end of the text on an instance's console, which may say why it does not boot. "" = there is none yet,
// as in the first minutes after the launch.
func (c *Cloud) Explain(ctx context.Context, cloudID string) (string, error) {
	in := &ec2.GetConsoleOutputInput{InstanceId: &cloudID, Latest: aws.Bool(true)}
	text, err := call(ctx, c.limits.read, actGetConsoleOutput, c.ec2.GetConsoleOutput, readConsole, in)
	if saysCode(err, "UnsupportedOperation") { // older instance types only show the console as it was at boot
		in.Latest = nil
		text, err = call(ctx, c.limits.read, actGetConsoleOutput, c.ec2.GetConsoleOutput, readConsole, in)
	}
	if err != nil {
		return "", fmt.Errorf("the console of %s: %w", cloudID, err)
	}
	return tail(scrub(text)), nil
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
