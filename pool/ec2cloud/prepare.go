package ec2cloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/pool"
)

// The limits of EC2.
const (
	maxUserData = 16384 // bytes, before base64
	maxToken    = 64
)

// frozenVersion is the version of the format of frozen requests.
const frozenVersion = 1

// frozen is the content of a pool.Frozen. It holds EC2's own request, so that a later version of berth, which may make other
// requests, repeats this one as it was.
type frozen struct {
	Version   int
	Candidate candidate
	Request   *ec2.RunInstancesInput // without the user data
	UserData  []byte                 `json:",omitempty"` // sealed, about the launch ID
}

// Prepare implements pool.Cloud. It chooses the instance type, the subnet and the market, and skips those that EC2 has
// recently refused.
func (c *Cloud) Prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	f, err := c.prepare(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("preparing launch %s: %w", s.LaunchID, err)
	}
	return f, nil
}

func (c *Cloud) prepare(ctx context.Context, s pool.Spec) (pool.Frozen, error) {
	if ctx.Err() != nil {
		return nil, translate(ctx, "", ctx.Err())
	}
	if err := checkToken(s.LaunchID); err != nil {
		return nil, err
	}
	c.ours.learnUID(s.PoolUID)
	data, err := fit(s.UserData)
	if err != nil {
		return nil, err
	}
	chosen, err := c.chooser.choose(ctx, s.Type)
	if err != nil {
		return nil, err
	}
	img, err := c.images.of(ctx, chosen.Arch)
	if err != nil {
		return nil, err
	}
	f := frozen{Version: frozenVersion, Candidate: chosen, Request: c.opts.request(s, chosen, img)}
	if len(data) > 0 {
		if f.UserData, err = c.opts.Sealer.Seal(ctx, data, []byte(s.LaunchID)); err != nil {
			return nil, fmt.Errorf("sealing the user data: %w", err)
		}
	}
	made, err := json.Marshal(f)
	if err == nil {
		c.subnets.take(chosen.Subnet)
	}
	return made, err
}

func checkToken(id string) error {
	if id == "" || len(id) > maxToken || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w: a launch ID of EC2 has 1 to %d ASCII characters", pool.ErrPermanent, maxToken)
	}
	return nil
}

// fit compresses user data that is too large. cloud-init recognizes gzip.
func fit(data []byte) ([]byte, error) {
	if len(data) <= maxUserData {
		return data, nil
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // it fails only for unknown levels
	_, _ = z.Write(data)                                  // a buffer takes everything
	_ = z.Close()
	if b.Len() > maxUserData {
		return nil, fmt.Errorf("%w: the user data has %d bytes, compressed %d, and EC2 allows %d", pool.ErrPermanent, len(data), b.Len(), maxUserData)
	}
	return b.Bytes(), nil
}
