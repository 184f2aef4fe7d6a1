package ec2test

import "time"

// Options describes a Server. A duration of 0 means the default, and -1 means none.
type Options struct {
	Region  string        // default us-east-1
	Latency time.Duration // of each call; half of it lies before its effect. Default 50 ms

	Pending  time.Duration // from the launch until the instance runs. Default 5 s
	Checks   time.Duration // from running until the status checks are ok; before, they are initializing. Default 2 min
	Ending   time.Duration // shutting-down, and stopping. Default 10 s
	Linger   time.Duration // how long an instance is shown as terminated. Default 1 h
	Notice   time.Duration // between a spot notice and the end. Default 2 min
	Instant  bool          // Latency, Pending, Checks, Ending, LaunchLag, TagLag and EndLag are none
	Throttle float64       // see Server.Throttle. Default 0: off

	// LaunchLag is how long Describe calls do not show a new instance, and calls that name it fail. Default 2 s.
	LaunchLag time.Duration
	// TagLag is how long a new tag is not shown, and filters do not find it. Default 2 s.
	TagLag time.Duration
	// EndLag is how long an instance that ends or stops is shown in its former state. Its end continues meanwhile, so
	// another instance may get its address while it is shown as running. Default 2 s.
	EndLag time.Duration

	// Boot, if not nil, is called when an instance begins to run, in a goroutine of that instance. The function that it
	// returns, if not nil, is called once, when the instance shuts down or stops, or the server closes. Close waits for both.
	Boot func(Instance) (stop func())
	// OnEvent, if not nil, is called with each event that AWS would send to EventBridge, in the goroutine of the method
	// that caused it.
	OnEvent func(Event)
}

func (o Options) withDefaults() Options {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	for _, d := range []struct {
		field    *time.Duration
		standard time.Duration
		instant  bool
	}{
		{&o.Latency, 50 * time.Millisecond, o.Instant},
		{&o.Pending, 5 * time.Second, o.Instant},
		{&o.Checks, 2 * time.Minute, o.Instant},
		{&o.Ending, 10 * time.Second, o.Instant},
		{&o.LaunchLag, 2 * time.Second, o.Instant},
		{&o.TagLag, 2 * time.Second, o.Instant},
		{&o.EndLag, 2 * time.Second, o.Instant},
		{&o.Linger, time.Hour, false},
		{&o.Notice, 2 * time.Minute, false},
	} {
		switch {
		case d.instant, *d.field < 0:
			*d.field = 0
		case *d.field == 0:
			*d.field = d.standard
		}
	}
	return o
}

// Event is an event that AWS would send to EventBridge.
type Event struct {
	Type       string // the detail-type, e.g. "EC2 Spot Instance Interruption Warning"
	InstanceID string
	Time       time.Time
}

// The types of an Event.
const (
	SpotInterruption = "EC2 Spot Instance Interruption Warning"
	Rebalance        = "EC2 Instance Rebalance Recommendation"
)
