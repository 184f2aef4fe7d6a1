// Package ec2cloud is a pool.Cloud that launches EC2 instances.
//
// A launch is one call of RunInstances whose client token is the launch ID. Prepare decides everything else and puts it
// into the Frozen request. So a call that is repeated after a crash returns the instance that the first one started.
//
// The number of calls: List makes one call of DescribeInstances per 1,000 instances. Every two minutes, it asks for the
// status of running instances, one call per 100, and every minute for spot requests while there are spot instances.
// Subnets are read every five minutes while instances are launched, and images once a day. Everything else is read once
// per process. A quiet pool that is listed every 10 s makes 390 calls an hour.
//
// docs/iam.md has the IAM policy that the package needs, and Cloud.Preflight says which permissions are missing.
package ec2cloud
