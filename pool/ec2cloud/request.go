package ec2cloud

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// request returns the call that launches one instance.
func (c *Cloud) request(s pool.Spec, from candidate, img image) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ClientToken:  &s.LaunchID,
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		ImageId:      &img.ID,
		InstanceType: types.InstanceType(from.Type),
		// A host ends itself by powering off; a stopped instance would cost money for nothing.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		// With one hop, what runs in a container does not reach the metadata service.
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint: types.InstanceMetadataEndpointStateEnabled, HttpTokens: types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1),
		},
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: &from.Subnet, Groups: c.opts.SecurityGroups, DeleteOnTermination: aws.Bool(true),
		}},
		BlockDeviceMappings: []types.BlockDeviceMapping{{
			DeviceName: &img.RootDevice,
			Ebs: &types.EbsBlockDevice{
				VolumeSize: aws.Int32(int32(max(c.opts.Volume.GiB, img.GiB))), VolumeType: types.VolumeType(c.opts.Volume.Type),
				Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(true),
			},
		}},
	}
	if c.opts.PublicAddress {
		in.NetworkInterfaces[0].AssociatePublicIpAddress = aws.Bool(true)
	}
	if p := c.opts.InstanceProfile; strings.HasPrefix(p, "arn:") {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: &p}
	} else if p != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &p}
	}
	tagged := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface}
	if from.Market == spot {
		// A persistent request would launch again, without our knowing.
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{
			SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
		}}
		tagged = append(tagged, types.ResourceTypeSpotInstancesRequest)
	}
	for _, of := range tagged {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: of, Tags: c.tags(s)})
	}
	return in
}

// tags returns those of a launch, sorted.
func (c *Cloud) tags(s pool.Spec) []types.Tag {
	all := map[string]string{tagName: "berth " + c.opts.Pool}
	maps.Copy(all, c.opts.Tags)
	maps.Copy(all, map[string]string{tagPool: c.opts.Pool, tagPoolUID: s.PoolUID, tagLaunch: s.LaunchID})
	var tags []types.Tag
	for _, key := range slices.Sorted(maps.Keys(all)) {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
	}
	return tags
}
