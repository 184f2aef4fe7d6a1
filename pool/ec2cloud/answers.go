package ec2cloud

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Only the files answers*.go read the answers of the SDK; a test checks this. In an answer of an emulator, a proxy or a later
// EC2, each field is a pointer that may be nil, each list may hold empty elements, and each word may be unknown to this
// version. The functions in these files turn that into plain values.

// errIncomplete says that an answer lacks its main content. It is not known what the call has done.
var errIncomplete = errors.New("the answer is incomplete")

// lower returns a word of EC2 in the case that EC2 documents.
func lower[T ~string](word T) T { return T(strings.ToLower(string(word))) }

func tagOf(tags []types.Tag, key string) (value string, ok bool) {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value), true
		}
	}
	return "", false
}

// page is one page of an answer.
type page[T any] struct {
	items []T
	next  string // the token of the next page; "" = this is the last one
}

// nothingOf reads nothing of an answer whose content is of no use.
func nothingOf[T any](*T) (struct{}, error) { return struct{}{}, nil }

func readCaller(out *sts.GetCallerIdentityOutput) (arn string, err error) {
	return aws.ToString(out.Arn), nil
}

func readImages(out *ec2.DescribeImagesOutput) (all []image, err error) {
	for _, found := range out.Images {
		i := image{
			ID: aws.ToString(found.ImageId), Name: aws.ToString(found.Name), Arch: string(lower(found.Architecture)),
			RootDevice: aws.ToString(found.RootDeviceName),
		}
		for _, d := range found.BlockDeviceMappings {
			if aws.ToString(d.DeviceName) == i.RootDevice && d.Ebs != nil {
				i.GiB = int(aws.ToInt32(d.Ebs.VolumeSize))
			}
		}
		all = append(all, i)
	}
	return all, nil
}

// readTypes returns the architectures of instance types.
func readTypes(out *ec2.DescribeInstanceTypesOutput) (map[string]string, error) {
	all := make(map[string]string)
	for _, t := range out.InstanceTypes {
		arch := string(types.ArchitectureValuesX8664)
		if t.ProcessorInfo == nil || len(t.ProcessorInfo.SupportedArchitectures) == 0 {
			arch = archByName(string(t.InstanceType))
		} else {
			for _, a := range t.ProcessorInfo.SupportedArchitectures {
				if lower(a) == types.ArchitectureTypeArm64 {
					arch = string(types.ArchitectureValuesArm64)
				}
			}
		}
		all[string(t.InstanceType)] = arch
	}
	delete(all, "")
	return all, nil
}

// readOfferings returns the zones of instance types.
func readOfferings(out *ec2.DescribeInstanceTypeOfferingsOutput) (map[string][]string, error) {
	zones := make(map[string][]string)
	for _, o := range out.InstanceTypeOfferings {
		zones[string(o.InstanceType)] = append(zones[string(o.InstanceType)], aws.ToString(o.Location))
	}
	return zones, nil
}
