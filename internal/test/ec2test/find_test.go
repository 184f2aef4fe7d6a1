package ec2test_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/internal/test/ec2test"
)

func TestPages(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		all, err := b.try(count(12, 12), tagged(types.ResourceTypeInstance, "pool", "p"))
		if err != nil {
			t.Fatal(err)
		}
		in := &ec2.DescribeInstancesInput{MaxResults: ptr(int32(5)), Filters: []types.Filter{by("tag:pool", "p")}}
		var got []string
		var sizes []int
		for pages := ec2.NewDescribeInstancesPaginator(b.ec2, in); pages.HasMorePages(); {
			page, err := pages.NextPage(b.Context())
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(page.Reservations[0].Instances))
			for _, i := range page.Reservations[0].Instances {
				got = append(got, *i.InstanceId)
			}
		}
		if !slices.Equal(got, all) || !slices.Equal(sizes, []int{5, 5, 2}) {
			t.Errorf("pages of %v: %q", sizes, got)
		}

		first, err := b.ec2.DescribeInstances(b.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		in.NextToken = first.NextToken
		in.Filters = []types.Filter{by("tag:pool", "q")}
		_, err = b.ec2.DescribeInstances(b.Context(), in)
		b.want(err, "InvalidNextToken") // it belongs to other filters
		_, err = b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{NextToken: ptr("nonsense")})
		b.want(err, "InvalidNextToken")
		for _, n := range []int32{4, 1001} {
			_, err = b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{MaxResults: &n})
			b.want(err, "InvalidParameterValue")
		}
		_, err = b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{MaxResults: ptr(int32(5)), InstanceIds: all[:1]})
		b.want(err, "InvalidParameterCombination")
	})
}

func TestAPageGoesOnWhereInstancesWentAway(t *testing.T) {
	opts := instant
	opts.Linger = -1
	onBench(t, opts, func(b *bench) {
		all, err := b.try(count(7, 7))
		if err != nil {
			t.Fatal(err)
		}
		in := &ec2.DescribeInstancesInput{MaxResults: ptr(int32(5))}
		out, err := b.ec2.DescribeInstances(b.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		b.want(b.terminate(all[4]), "") // the last of the page
		in.NextToken = out.NextToken
		out, err = b.ec2.DescribeInstances(b.Context(), in)
		if err != nil || len(out.Reservations[0].Instances) != 2 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestFilters(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		one := b.launch(token("t-1"), tagged(types.ResourceTypeInstance, "pool", "p1", "owner", "u1"))
		two := b.launch(spot, token("t-2"), tagged(types.ResourceTypeInstance, "pool", "p2"))
		gone := b.launch()
		b.want(b.terminate(gone), "")
		for _, c := range []struct {
			filters []types.Filter
			want    []string
		}{
			{nil, []string{one, two, gone}},
			{[]types.Filter{by("tag:pool", "p1")}, []string{one}},
			{[]types.Filter{by("tag:pool", "p1", "p2")}, []string{one, two}},
			{[]types.Filter{by("tag:pool", "p*")}, []string{one, two}},
			{[]types.Filter{by("tag:pool", "p?")}, []string{one, two}},
			{[]types.Filter{by("tag:pool", "P1")}, nil},
			{[]types.Filter{by("tag-key", "owner")}, []string{one}},
			{[]types.Filter{by("instance-state-name", "pending", "running"), by("tag-key", "pool")}, []string{one, two}},
			{[]types.Filter{by("instance-state-name", "terminated")}, []string{gone}},
			{[]types.Filter{by("client-token", "t-2")}, []string{two}},
			{[]types.Filter{by("instance-lifecycle", "spot")}, []string{two}},
			{[]types.Filter{by("instance-id", one, gone)}, []string{one, gone}},
			{[]types.Filter{by("subnet-id", b.server.Subnet("us-east-1a"))}, []string{one, two}}, // what has ended is in none
			{[]types.Filter{by("state-reason-code", "Client.UserInitiatedShutdown")}, []string{gone}},
		} {
			if got := b.found(c.filters...); !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", show(c.filters), got, c.want)
			}
		}
		for code, filter := range map[string]types.Filter{
			"InvalidParameterValue": by("colour", "red"),
			"FilterLimitExceeded":   by("instance-id", slices.Repeat([]string{one}, 201)...),
		} {
			_, err := b.ec2.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{filter}})
			b.want(err, code)
		}
	})
}

func show(filters []types.Filter) string {
	var all []string
	for _, f := range filters {
		all = append(all, fmt.Sprintf("%s=%s", *f.Name, strings.Join(f.Values, ",")))
	}
	return strings.Join(all, " ")
}

func TestTags(t *testing.T) {
	onBench(t, instant, func(b *bench) {
		id := b.launch(spot, tagged(types.ResourceTypeInstance, "k", "1"), tagged(types.ResourceTypeVolume, "k", "2"),
			tagged(types.ResourceTypeNetworkInterface, "k", "3"), tagged(types.ResourceTypeSpotInstancesRequest, "k", "4"))
		i := b.described(id)
		volumes, err := b.ec2.DescribeVolumes(b.Context(), &ec2.DescribeVolumesInput{Filters: []types.Filter{by("tag:k", "2")}})
		if err != nil || len(volumes.Volumes) != 1 || *volumes.Volumes[0].VolumeId != *i.BlockDeviceMappings[0].Ebs.VolumeId {
			t.Errorf("volumes: %+v, %v", volumes, err)
		}
		cards, err := b.ec2.DescribeNetworkInterfaces(b.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{by("tag:k", "3")}})
		if err != nil || len(cards.NetworkInterfaces) != 1 || *cards.NetworkInterfaces[0].Attachment.InstanceId != id {
			t.Errorf("network interfaces: %+v, %v", cards, err)
		}
		spots, err := b.ec2.DescribeSpotInstanceRequests(b.Context(), &ec2.DescribeSpotInstanceRequestsInput{Filters: []types.Filter{by("tag:k", "4")}})
		if err != nil || len(spots.SpotInstanceRequests) != 1 || *spots.SpotInstanceRequests[0].InstanceId != id {
			t.Errorf("spot requests: %+v, %v", spots, err)
		}
		put := func(ids []string, pairs ...string) error {
			_, err := b.ec2.CreateTags(b.Context(), &ec2.CreateTagsInput{Resources: ids, Tags: pairsOf(pairs)})
			return err
		}
		b.want(put([]string{id, *volumes.Volumes[0].VolumeId}, "k", "5", "l", "6"), "")
		if tags := b.server.Instance(id).Tags; tags["k"] != "5" || tags["l"] != "6" {
			t.Errorf("tags: %q", tags)
		}
		b.want(put([]string{id, "i-0000000000000dead"}, "k", "7"), "InvalidInstanceID.NotFound")
		b.want(put([]string{"zebra"}, "k", "7"), "InvalidID")
		b.want(put([]string{id}, "aws:k", "v"), "InvalidParameterValue")
		b.want(put([]string{id}, strings.Repeat("ä", 129), "v"), "InvalidParameterValue")
		b.want(put([]string{id}, "k", strings.Repeat("ä", 257)), "InvalidParameterValue")
		b.want(put([]string{id}, "k", "v", "k", "v"), "InvalidParameterValue")
		var pairs []string
		for n := range 49 {
			pairs = append(pairs, fmt.Sprint("n", n), "v")
		}
		b.want(put([]string{id}, pairs...), "TagLimitExceeded") // there are two
		b.want(put([]string{id}, pairs[:96]...), "")
		if tags := b.server.Instance(id).Tags; tags["k"] != "5" || len(tags) != 50 {
			t.Errorf("tags: %q", tags)
		}
		for _, bad := range []func(*ec2.RunInstancesInput){
			tagged(types.ResourceTypeInstance, "aws:pool", "p"),
			tagged(types.ResourceTypeInstance),
			tagged(types.ResourceTypeImage, "k", "v"),
			tagged(types.ResourceTypeSpotInstancesRequest, "k", "v"),
		} {
			if _, err := b.try(bad); err == nil || len(b.server.Instances()) != 1 {
				t.Errorf("%+v: %v", b.input(bad).TagSpecifications, err)
			}
		}
	})
}

func TestSpot(t *testing.T) {
	var events []ec2test.Event
	opts := plain
	opts.OnEvent = func(e ec2test.Event) { events = append(events, e) }
	onBench(t, opts, func(b *bench) {
		status := func(id string) (string, string) {
			t.Helper()
			out, err := b.ec2.DescribeSpotInstanceRequests(b.Context(), &ec2.DescribeSpotInstanceRequestsInput{Filters: []types.Filter{by("instance-id", id)}})
			if err != nil {
				t.Fatal(err)
			}
			return string(out.SpotInstanceRequests[0].State), *out.SpotInstanceRequests[0].Status.Code
		}
		is := func(id, wantState, wantCode string) {
			t.Helper()
			if state, code := status(id); state != wantState || code != wantCode {
				t.Errorf("the request of %s is %s, %s; want %s, %s", id, state, code, wantState, wantCode)
			}
		}
		id := b.launch(spot)
		time.Sleep(5 * time.Second)
		i := b.described(id)
		if i.InstanceLifecycle != types.InstanceLifecycleTypeSpot || *i.SpotInstanceRequestId != b.server.Instance(id).SpotRequestID {
			t.Errorf("%+v", i)
		}
		is(id, "active", "fulfilled")
		b.server.Rebalance(id)
		b.server.InterruptSpot(id)
		now := time.Now()
		is(id, "active", "marked-for-termination")
		if got := b.server.Instance(id); !got.Notice.Equal(now.Add(2*time.Minute)) || !got.Rebalance.Equal(now) {
			t.Errorf("its metadata would say: %v, %v", got.Notice, got.Rebalance)
		}
		if len(events) != 2 || events[0] != (ec2test.Event{Type: ec2test.Rebalance, InstanceID: id, Time: now}) || events[1].Type != ec2test.SpotInterruption {
			t.Errorf("events: %+v", events)
		}
		b.isState(id, 2*time.Minute-1, "running")
		b.isState(id, 1, "shutting-down")
		is(id, "closed", "instance-terminated-no-capacity")
		b.isState(id, 10*time.Second, "terminated")
		if got := *b.described(id).StateReason.Code; got != "Server.SpotInstanceTermination" {
			t.Errorf("reason %s", got)
		}

		id = b.launch(spot)
		b.want(b.terminate(id), "")
		is(id, "closed", "instance-terminated-by-user")

		id = b.launch(spot, func(in *ec2.RunInstancesInput) { in.InstanceMarketOptions.SpotOptions.MaxPrice = ptr("0.03") })
		request := b.server.Instance(id).SpotRequestID
		out, err := b.ec2.CancelSpotInstanceRequests(b.Context(), &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{request}})
		if err != nil || out.CancelledSpotInstanceRequests[0].State != "cancelled" {
			t.Errorf("%+v, %v", out, err)
		}
		is(id, "cancelled", "request-canceled-and-instance-running")
		b.server.InterruptSpot(id)
		time.Sleep(2 * time.Minute)
		is(id, "closed", "instance-terminated-by-price")

		_, err = b.try(spot, func(in *ec2.RunInstancesInput) { in.InstanceMarketOptions.SpotOptions.MaxPrice = ptr("0.001") })
		b.want(err, "SpotMaxPriceTooLow")
		_, err = b.try(spot, func(in *ec2.RunInstancesInput) { in.InstanceMarketOptions.SpotOptions.SpotInstanceType = "persistent" })
		b.want(err, "InvalidParameterValue")
		_, err = b.ec2.CancelSpotInstanceRequests(b.Context(), &ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{"sir-deadbeef"}})
		b.want(err, "InvalidSpotInstanceRequestID.NotFound")
	})
}
