package ec2cloud

import (
	"encoding/json"
	"fmt"
	"time"
)

// pins is what is kept of the images that are pinned.
type pins struct {
	Options string // a name for those that a launch depends on
	Images  []pinned
}

// pinned is one image, and what has named it.
type pinned struct {
	Source string
	At     time.Time // when it was resolved
	image
}

// Pins implements pool.Pinned.
func (c *Cloud) Pins() []byte {
	kept := pins{Options: c.pinnedFor()}
	for _, source := range c.imageSources() {
		c.images.mu.Lock()
		p := c.images.pinned[source]
		c.images.mu.Unlock()
		if p.ID != "" && !p.gone {
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

// Pin implements pool.Pinned. An image is resolved again a day after it was at first, whoever did, and before the next
// launch if EC2 says that it is gone.
func (c *Cloud) Pin(text []byte) error {
	var kept pins
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("ec2cloud: the images that were pinned: %w", err)
	}
	if kept.Options != c.pinnedFor() {
		return nil
	}
	now := time.Now()
	for _, k := range kept.Images {
		at := k.At
		if at.After(now) { // by a clock that is wrong, here or there
			at = now
		}
		c.images.put(k.Source, pin{image: k.image, at: at, next: at.Add(imageTerm)})
	}
	return nil
}

// pinnedFor names the options for which images are pinned: whoever changes one of them wants the newest image.
func (c *Cloud) pinnedFor() string {
	name, err := c.version(append([]string{c.region}, c.imageSources()...))
	if err != nil {
		return "" // it is plain data
	}
	return name
}

// imageSources returns all that may name an image.
func (c *Cloud) imageSources() []string {
	switch {
	case c.opts.ImageID != "":
		return []string{c.opts.ImageID}
	case c.opts.ImageParameter != "":
		return []string{c.opts.ImageParameter}
	}
	return []string{ecsImage, ecsImageArm64}
}
