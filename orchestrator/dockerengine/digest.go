package dockerengine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/image"

	"github.com/berth-go/berth/orchestrator"
)

// checkDigest checks that a container was made from the image whose digest the name of its image holds. It does nothing if
// the name holds none. An engine looks an image up by the digest that its registry gave, and does not compute it again.
func (e *ensuring) checkDigest(ctx context.Context, id, name string) error {
	_, digest, ok := strings.Cut(name, "@")
	if !ok {
		return nil
	}
	made, err := e.inspect(ctx, id)
	if err != nil {
		return err
	}
	ctx, cancel := e.bound(ctx)
	defer cancel()
	found, err := e.docker.ImageInspect(ctx, made.Image) // by its ID: the name may mean another one by now
	if err == nil {
		err = needs(found.ID != "", "the inspection of image "+made.Image, "Id")
	}
	if err != nil {
		return fmt.Errorf("checking the digest of image %s: %w", name, err)
	}
	if has := digestsOf(found.InspectResponse); !slices.Contains(has, digest) {
		return fmt.Errorf("%w: the engine made the container of %s from image %s, which has the digests %s",
			orchestrator.ErrImage, name, found.ID, strings.Join(has, ", "))
	}
	return nil
}

// digestsOf returns the digests by which an image is known.
func digestsOf(i image.InspectResponse) []string {
	digests := []string{i.ID} // with a content store of containerd's, that of its manifest
	if i.Descriptor != nil {
		digests = append(digests, i.Descriptor.Digest.String())
	}
	for _, known := range i.RepoDigests {
		if _, digest, ok := strings.Cut(known, "@"); ok {
			digests = append(digests, digest)
		}
	}
	return digests
}
