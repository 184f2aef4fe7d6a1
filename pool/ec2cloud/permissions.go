package ec2cloud

// The IAM actions of the calls that the driver makes. A test compares them with the calls of a run, and with docs/iam.md.
const (
	actRunInstances                  = "ec2:RunInstances"
	actTerminateInstances            = "ec2:TerminateInstances"
	actCancelSpotInstanceRequests    = "ec2:CancelSpotInstanceRequests"
	actGetConsoleOutput              = "ec2:GetConsoleOutput"
	actDescribeInstances             = "ec2:DescribeInstances"
	actDescribeInstanceStatus        = "ec2:DescribeInstanceStatus"
	actDescribeSpotInstanceRequests  = "ec2:DescribeSpotInstanceRequests"
	actDescribeSpotPriceHistory      = "ec2:DescribeSpotPriceHistory"
	actDescribeImages                = "ec2:DescribeImages"
	actDescribeSubnets               = "ec2:DescribeSubnets"
	actDescribeVpcs                  = "ec2:DescribeVpcs"
	actDescribeSecurityGroups        = "ec2:DescribeSecurityGroups"
	actDescribeInstanceTypes         = "ec2:DescribeInstanceTypes"
	actDescribeInstanceTypeOfferings = "ec2:DescribeInstanceTypeOfferings"
	actGetParameter                  = "ssm:GetParameter"
	actGetCallerIdentity             = "sts:GetCallerIdentity"
)

// calledActions are all of them.
var calledActions = []string{
	actRunInstances, actTerminateInstances, actCancelSpotInstanceRequests, actGetConsoleOutput,
	actDescribeInstances, actDescribeInstanceStatus, actDescribeSpotInstanceRequests, actDescribeImages,
	actDescribeSubnets, actDescribeVpcs, actDescribeSecurityGroups, actDescribeInstanceTypes, actDescribeInstanceTypeOfferings,
	actGetParameter, actGetCallerIdentity,
}

// impliedActions are the further permissions that RunInstances needs: to tag the instances, and to give them an instance
// profile.
var impliedActions = []string{"ec2:CreateTags", "iam:PassRole"}

// priceActions are those of Prices, which a pool can do without.
var priceActions = []string{actDescribeSpotPriceHistory}
