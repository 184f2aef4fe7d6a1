package ec2cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Generation implements pool.Versioned: a name for all options that a launch depends on, and for the images. A new image
// makes a new generation once a day at most.
func (c *Cloud) Generation(ctx context.Context) (string, error) {
	g, err := c.generation(ctx)
	if err != nil {
		return "", fmt.Errorf("ec2cloud: the generation: %w", err)
	}
	return g, nil
}

func (c *Cloud) generation(ctx context.Context) (string, error) {
	images, err := c.imagesOf(ctx, c.types(""))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range images {
		ids = append(ids, i.ID)
	}
	return c.version(ids)
}

// version names the options that a launch depends on, and the images.
func (c *Cloud) version(images []string) (string, error) {
	o := c.opts
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

// imagesOf returns the images of instance types, each once.
func (c *Cloud) imagesOf(ctx context.Context, names []string) ([]image, error) {
	archOf, err := c.architectures(ctx, names)
	if err != nil {
		return nil, err
	}
	var all []image
	seen := make(map[string]bool)
	for _, typ := range names {
		arch := archOf[typ]
		if arch == "" {
			return nil, c.noType(typ)
		}
		if seen[arch] {
			continue
		}
		seen[arch] = true
		i, err := c.image(ctx, arch)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}
