// Package ec2test is a server that speaks EC2's Query protocol, SSM's GetParameter and GetParameters, and STS'
// GetCallerIdentity, so that a driver for EC2 is tested with the real SDK against something that has state. It imports
// no SDK itself.
//
// One Server is one account in one region, made for one test: nothing can be reset. Its IDs and addresses come from
// counters, so that a test meets the same ones in each run. The IDs in EC2's answers have EC2's form.
//
// Server.Client reaches it through memory. Inside a bubble of testing/synctest all its times are virtual then, and a test
// waits for nothing. Server.Listen opens a port for programs that dial one.
//
// # What it does
//
// RunInstances with client tokens, on demand and one-time spot, over subnets, zones, capacity and quotas; instances that
// are pending, running, shutting-down and terminated by the clock, and shown late as AWS shows them; volumes, network
// interfaces, tags, addresses, status checks, scheduled events, console output, metadata options; spot requests and their
// interruption; images, instance types and offerings; paging and filters; DryRun; request and resource buckets. Calls
// must be signed for the right service and region by a key that it knows. Error codes and HTTP statuses are those of AWS,
// the status 500 of InsufficientInstanceCapacity included, for which the SDK repeats the call by itself.
//
// A parameter that it does not know, or that is malformed, is an error: nothing that a client sends is ignored.
// Server.Requests keeps every call.
//
// # Faults
//
// What goes wrong with calls: Server.LoseRequests, LoseAnswers, Hang, Slow, Fail, Throttle, Deny, ExpireKey, SkewClock.
// What goes wrong with things: SetCapacity, SetQuota, SetInstanceLimit, Withhold, EndAtBoot, InterruptSpot, Rebalance,
// Terminate, Kill, Stop, Shutdown, Impair, Schedule, Protect, IgnoreTerminations, Overshoot, NextAddress, Deregister,
// Unshare, ReleaseImage, and an AddInstanceProfile that is late. Options.Boot lets something run for each instance, and
// Server.Instances tells what really is.
//
// # What it leaves out
//
//   - Signatures are not verified, and permissions are by action alone.
//   - Fleets, launch templates, key pairs, persistent spot requests, StartInstances, hibernation, IPv6, more than one
//     network interface, dedicated hosts, placement groups, instance store, images in RunInstances by SSM parameter.
//     Their parameters are UnknownParameter or InvalidParameterValue.
//   - Prices but for a floor, and EventBridge but for Options.OnEvent. Nothing serves an instance's metadata.
//   - A client token counts in the whole region, also for launches that name a zone. One that was refused stays free.
//   - SSM and STS are not throttled, and a paging token does not grow old.
//   - The texts of errors are near AWS' own, not always the same.
package ec2test
