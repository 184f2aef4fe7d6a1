package ec2cloud

// The actions of IAM that the driver calls. A test compares them with what it has called, and with docs/iam.md.
const (
	actRunInstances                  = "ec2:RunInstances"
	actTerminateInstances            = "ec2:TerminateInstances"
	actCancelSpotInstanceRequests    = "ec2:CancelSpotInstanceRequests"
	actGetConsoleOutput              = "ec2:GetConsoleOutput"
	actDescribeInstances             = "ec2:DescribeInstances"
	actDescribeInstanceStatus        = "ec2:DescribeInstanceStatus"
	actDescribeSpotInstanceRequests  = "ec2:DescribeSpotInstanceRequests"
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

// impliedActions are those that EC2 asks for on behalf of RunInstances: to tag what it launches, and to give it an
// instance profile.
var impliedActions = []string{"ec2:CreateTags", "iam:PassRole"}
