package teardown

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// cleanLooks is how many looks in a row must show nothing of a pool: a single list of a cloud may be an old one.
const cleanLooks = 3

// awaitNothing returns when the cloud shows nothing more of the pool.
func (d *destroyer) awaitNothing(ctx context.Context) error {
	var what string
	for clean := 0; ; {
		left, err := d.Pool.Left(ctx)
		pause := poll
		switch {
		case err != nil && ctx.Err() == nil:
			d.Failures.Report("cannot see whether the cloud has anything left of the pool; trying again", err)
			clean, what = 0, fmt.Sprintf("whether the cloud has anything left of the pool is not known (%v)", err)
		case err == nil && len(left) > 0:
			clean, what = 0, "left are "+some(left)
			d.Pool.Wake()
		case err == nil:
			if clean++; clean == cleanLooks {
				return nil
			}
			pause, what = poll/10, "the cloud was not asked often enough whether anything is left"
		}
		if err := d.stillDestroying(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		if err := loop.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", cmp.Or(what, "the cloud was not asked whether anything is left"), err)
		}
	}
}

// some joins the first of many things.
func some(all []string) string {
	const most = 20
	if len(all) > most {
		return fmt.Sprintf("%s, and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

// instancesLeft names the instances that have records. A launch without a cloud ID is one of unknown outcome.
func (d *destroyer) instancesLeft(ctx context.Context) (string, error) {
	pool, err := store.ReadPool(ctx, d.Store)
	if err != nil || pool.Instances == 0 {
		return "", err
	}
	var names []string
	err = d.Store.View(ctx, func(v store.View) error {
		page, err := v.Instances(store.InstanceQuery{})
		names = nil
		for _, in := range page {
			if in.CloudID == "" {
				names = append(names, fmt.Sprintf("launch %s, whose outcome is not known", in.ID))
			} else {
				names = append(names, fmt.Sprintf("%s (%s, %s)", in.ID, in.CloudID, in.State))
			}
		}
		return err
	})
	return fmt.Sprintf("%d instances are left: %s", pool.Instances, some(names)), err
}

func (d *destroyer) containersLeft(ctx context.Context) (string, error) {
	n := 0
	err := d.Store.View(ctx, func(v store.View) error {
		page, err := v.Containers(store.ContainerQuery{})
		n = len(page)
		return err
	})
	if err != nil || n == 0 {
		return "", err
	}
	return fmt.Sprintf("%d containers are left", n), nil
}
