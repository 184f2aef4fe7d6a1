package ec2cloud

import (
	"encoding/json"
	"fmt"
	"time"
)

// pins is the stored form of the pinned images.
type pins struct {
	Options string // a name for the options that a launch depends on
	Images  []pinned
}

// pinned is one image, and the source that named it.
type pinned struct {
	Source string
	At     time.Time // when it was resolved
	image
}

// Pins implements pool.Pinned.
func (c *Cloud) Pins() []byte {
	kept := pins{Options: c.pinnedFor()}
	for _, source := range c.opts.imageSources() {
		if p, _ := c.images.get(source); p.ID != "" && !p.gone {
			kept.Images = append(kept.Images, pinned{source, p.at.UTC(), p.image})
		}
	}
	if len(kept.Images) == 0 {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil // it is plain data
	}
	return text
}

// Pin implements pool.Pinned. An image is resolved again a day after some process resolved it, and before the next launch if
// EC2 says that it is gone.
func (c *Cloud) Pin(text []byte) error {
	var kept pins
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("ec2cloud: the pinned images: %w", err)
	}
	if kept.Options != c.pinnedFor() {
		return nil
	}
	now := time.Now()
	for _, k := range kept.Images {
		at := k.At
		if at.After(now) { // a clock is wrong, here or there
			at = now
		}
		c.images.put(k.Source, pin{image: k.image, at: at, next: at.Add(imageTerm)})
	}
	return nil
}

// pinnedFor returns a name for the options for which images are pinned. If one of them changes, launches use the newest
// image.
func (c *Cloud) pinnedFor() string {
	name, err := c.opts.version(append([]string{c.region}, c.opts.imageSources()...))
	if err != nil {
		return "" // it is plain data
	}
	return name
}

// imageSources returns every ID or parameter that may name an image.
func (o Options) imageSources() []string {
	switch {
	case o.ImageID != "":
		return []string{o.ImageID}
	case o.ImageParameter != "":
		return []string{o.ImageParameter}
	}
	return []string{ecsImage, ecsImageArm64}
}
