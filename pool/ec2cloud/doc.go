// Package ec2cloud is a pool.Cloud that launches EC2 instances.
//
// A launch is one call of RunInstances whose client token is the launch ID. Everything else of it is settled before, by
// Prepare, and kept in the Frozen request, so that repeating the call after a crash finds what the first one made.
//
// What it costs: List is one call of DescribeInstances per 1,000 instances. The status of running instances is asked for
// every two minutes, one call per 100, and spot requests once a minute while there are spot instances. Subnets are read
// every five minutes while instances are launched, and images once a day. Everything else is asked once per process. A
// pool that is quiet and looked at every 10 s makes 390 calls an hour.
//
// docs/iam.md has the IAM policy that it needs, and Cloud.Preflight says what is missing.
package ec2cloud
