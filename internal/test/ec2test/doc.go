// Package ec2test is a server that speaks EC2's Query protocol, SSM's GetParameter and GetParameters, and STS'
// GetCallerIdentity. A test of a driver for EC2 runs the real SDK against its state. The package itself imports no SDK.
//
// One Server is one account in one region, made for one test. It cannot be reset. Its IDs and addresses come from
// counters, so that they are the same in each run of a test. The IDs in EC2's answers have EC2's form.
//
// Server.Client reaches it through memory. Inside a bubble of testing/synctest all its times are then virtual, and a
// test does not wait. Server.Listen opens a port for programs that need one.
//
// # What it does
//
// RunInstances with client tokens, on demand and one-time spot, over subnets, zones, capacity and quotas; instances
// that become pending, running, shutting-down and terminated with time, and are shown late, as on AWS; volumes, network
// interfaces, tags, addresses, status checks, scheduled events, console output, metadata options; spot requests and
// their interruption; images, instance types and offerings; paging and filters; DryRun; request and resource buckets.
// Calls must be signed for the right service and region by a key that it knows. Error codes and HTTP statuses are those
// of AWS, including the status 500 of InsufficientInstanceCapacity, after which the SDK repeats the call by itself.
//
// An unknown or malformed parameter is an error: the server ignores nothing that a client sends. Server.Requests
// returns every call.
//
// # Faults
//
// Faults of calls: Server.LoseRequests, LoseAnswers, Hang, Slow, Fail, Throttle, Deny, ExpireKey, SkewClock.
// Faults of things: SetCapacity, SetQuota, SetInstanceLimit, Withhold, EndAtBoot, InterruptSpot, Rebalance,
// Terminate, Kill, Stop, Shutdown, Impair, Schedule, Protect, IgnoreTerminations, Overshoot, NextAddress, Deregister,
// Unshare, ReleaseImage, and an AddInstanceProfile that is late. Options.Boot lets something run for each instance,
// Server.Metadata is the metadata service that it finds, and Server.Instances tells what really is.
//
// # What it leaves out
//
//   - Signatures are not verified, and permissions are by action alone.
//   - Fleets, launch templates, key pairs, persistent spot requests, StartInstances, hibernation, IPv6, more than one
//     network interface, dedicated hosts, placement groups, instance store, images in RunInstances by SSM parameter.
//     Their parameters are UnknownParameter or InvalidParameterValue.
//   - Prices but for a floor, and EventBridge but for Options.OnEvent.
//   - A client token counts in the whole region, also for launches that name a zone. One that was refused stays free.
//   - SSM and STS are not throttled, and a paging token does not grow old.
//   - The texts of errors are near AWS' own, not always the same.
package ec2test
