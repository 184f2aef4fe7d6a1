package dockerengine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
)

// notices checks that a probe shows the machine that its manager lives, and returns the notices of the cloud.
func (r *remoteEngine) notices(t *testing.T, h orchestrator.Host) {
	docker, err := client.New(client.WithHost(r.Address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	for range 2 {
		if err := h.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := docker.VolumeRemove(t.Context(), hostboot.TouchVolume, client.VolumeRemoveOptions{}); err != nil {
			t.Errorf("the probe has not touched the machine: %v", err)
		}
	}
	told := func(name string, labels map[string]string) {
		t.Helper()
		if _, err := docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: name, Labels: labels}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { docker.VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{}) })
	}
	probe := func(want orchestrator.Notice) {
		t.Helper()
		err := h.Probe(t.Context())
		notice, ok := errors.AsType[*orchestrator.NoticeError](err)
		if !ok || notice.Notice != want || notice.At != "2026-11-23T12:00:00Z" {
			t.Errorf("the probe says %v, want %s", err, want)
		}
	}
	labels := func(notice string) map[string]string {
		return map[string]string{
			"berth.kind": "notice", "berth.pool": r.at.Pool, "berth.launch": r.at.Launch,
			hostboot.LabelNotice: notice, hostboot.LabelNoticeAt: "2026-11-23T12:00:00Z",
		}
	}
	told("berth-notice-other", map[string]string{"berth.kind": "notice", "berth.pool": "another", hostboot.LabelNotice: hostboot.NoticeInterrupted})
	if err := h.Probe(t.Context()); err != nil {
		t.Errorf("a notice to another pool: %v", err)
	}
	told("berth-notice-rebalance", labels(hostboot.NoticeRebalance))
	probe(orchestrator.NoticeRebalance)
	told("berth-notice-interrupted", labels(hostboot.NoticeInterrupted))
	probe(orchestrator.NoticeInterrupted)
}
