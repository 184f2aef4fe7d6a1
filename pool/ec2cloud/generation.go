package ec2cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Generation implements pool.Versioned. The name stands for the images and for all options that a launch depends on. New
// images make a new generation at most once a day.
func (c *Cloud) Generation(ctx context.Context) (string, error) {
	g, err := c.generation(ctx)
	if err != nil {
		return "", fmt.Errorf("ec2cloud: the generation: %w", err)
	}
	return g, nil
}

func (c *Cloud) generation(ctx context.Context) (string, error) {
	images, err := c.images.ofTypes(ctx, c.opts.types(""))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range images {
		ids = append(ids, i.ID)
	}
	return c.opts.version(ids)
}

// version returns a name for the options that a launch depends on, and the images.
func (o Options) version(images []string) (string, error) {
	text, err := json.Marshal(struct {
		Types, Subnets, SecurityGroups []string
		Spot                           Spot
		PublicAddress                  bool
		Volume                         Volume
		Tags                           map[string]string // sorted by encoding/json
		InstanceProfile                string
		Images                         []string
	}{o.Types, o.Subnets, o.SecurityGroups, o.Spot, o.PublicAddress, o.Volume, o.Tags, o.InstanceProfile, images})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
