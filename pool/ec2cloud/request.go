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
func (o Options) request(s pool.Spec, from candidate, img image) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ClientToken:  &s.LaunchID,
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		ImageId:      &img.ID,
		InstanceType: types.InstanceType(from.Type),
		// A host ends itself by powering off; a stopped instance would cost money for nothing.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		// With one hop, containers do not reach the metadata service.
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint: types.InstanceMetadataEndpointStateEnabled, HttpTokens: types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: aws.Int32(1),
		},
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: &from.Subnet, Groups: o.SecurityGroups, DeleteOnTermination: aws.Bool(true),
		}},
		BlockDeviceMappings: []types.BlockDeviceMapping{{
			DeviceName: &img.RootDevice,
			Ebs: &types.EbsBlockDevice{
				VolumeSize: aws.Int32(int32(max(o.Volume.GiB, img.GiB))), VolumeType: types.VolumeType(o.Volume.Type),
				Encrypted: aws.Bool(true), DeleteOnTermination: aws.Bool(true),
			},
		}},
	}
	if o.PublicAddress {
		in.NetworkInterfaces[0].AssociatePublicIpAddress = aws.Bool(true)
	}
	if p := o.InstanceProfile; strings.HasPrefix(p, "arn:") {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: &p}
	} else if p != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &p}
	}
	tagged := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface}
	if from.Market == spot {
		// A persistent request would launch again by itself.
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: &types.SpotMarketOptions{
			SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
		}}
		tagged = append(tagged, types.ResourceTypeSpotInstancesRequest)
	}
	for _, of := range tagged {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: of, Tags: o.tags(s)})
	}
	return in
}

// tagged returns the tags of a launch.
func (o Options) tagged(s pool.Spec) map[string]string {
	all := map[string]string{tagName: "berth " + o.Pool}
	maps.Copy(all, o.Tags)
	maps.Copy(all, map[string]string{tagPool: o.Pool, tagPoolUID: s.PoolUID, tagLaunch: s.LaunchID})
	return all
}

// tags returns the tags of a launch, sorted, in EC2's form.
func (o Options) tags(s pool.Spec) (tags []types.Tag) {
	all := o.tagged(s)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
	}
	return tags
}

// tokenOf, imageOf and uidOf read a stored request, which another version of berth may have written.
func tokenOf(in *ec2.RunInstancesInput) string { return aws.ToString(in.ClientToken) }

func imageOf(in *ec2.RunInstancesInput) string { return aws.ToString(in.ImageId) }

func uidOf(in *ec2.RunInstancesInput) string {
	for _, t := range in.TagSpecifications {
		if t.ResourceType == types.ResourceTypeInstance {
			uid, _ := tagOf(t.Tags, tagPoolUID)
			return uid
		}
	}
	return ""
}
