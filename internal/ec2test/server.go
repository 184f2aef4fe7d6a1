package ec2test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is one account in one region. All methods are safe for concurrent use.
type Server struct {
	opts    Options
	http    *http.Server
	memory  *memoryListener
	client  *http.Client
	closing chan struct{} // closed by Close
	once    sync.Once
	wg      sync.WaitGroup // of all goroutines of the server but those of http

	mu        sync.Mutex // protects what follows; never held while waiting
	ids       map[string]int
	keys      keys
	faults    faults
	limits    limits
	throttle  throttle
	network   network
	catalog   catalog
	requests  []Request
	calls     map[string]int
	instances map[string]*instance
	launched  []*instance // by launch
	live      []*instance // those that have not been settled as terminated
	tokens    map[string]*reservation
	volumes   []*volume
	cards     []*networkCard
	spots     []*spotRequest
	profiles  map[string]time.Time // instance profiles, and since when EC2 sees them
	skew      time.Duration        // of the server's clock
}

// New returns a Server. It has a default VPC with three subnets and a security group, and images that its SSM
// parameters name. It serves its Client; see Listen for others.
func New(opts Options) *Server {
	s := &Server{
		opts:      opts.withDefaults(),
		memory:    newMemoryListener(),
		closing:   make(chan struct{}),
		ids:       map[string]int{},
		calls:     map[string]int{},
		instances: map[string]*instance{},
		tokens:    map[string]*reservation{},
		profiles:  map[string]time.Time{},
	}
	s.keys.init()
	s.faults.next = map[string][]fault{}
	s.limits.init()
	s.throttle = throttle{factor: opts.Throttle, buckets: map[string]*bucket{}}
	s.network.init(s)
	s.catalog.init(s)
	s.http = &http.Server{Handler: s, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}}
	s.client = &http.Client{Transport: transport{&http.Transport{DialContext: s.memory.dial, MaxIdleConnsPerHost: 100}}}
	s.serve(s.memory)
	return s
}

func (s *Server) serve(l net.Listener) {
	s.wg.Go(func() { _ = s.http.Serve(l) }) // ends when Close closes s.http
}

// URL is the endpoint to use with Client, of all three services. Nothing listens there.
func (s *Server) URL() string { return "http://aws.test" }

// Client returns a client whose every request goes to this server, through memory. Nothing of it touches the network, so
// that it works in virtual time, inside a bubble of testing/synctest.
func (s *Server) Client() *http.Client { return s.client }

// Listen makes the server listen on a port of the loopback interface, too, until Close, and returns the URL. It is for
// other processes: within this one, Client is surer. Leave the server some Latency then. An answer that is quicker than
// the client's net/http finds the end of the request is sometimes lost by the SDK, as transport tells.
func (s *Server) Listen() (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.serve(l)
	return "http://" + l.Addr().String(), nil
}

// Close cuts every connection, stops what Boot has started, and waits for it.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.closing)
		_ = s.http.Close()
		_ = s.memory.Close()
		s.client.CloseIdleConnections()
	})
	s.wg.Wait()
}

// lock locks the state and brings it up to the present, which it returns.
func (s *Server) lock() time.Time {
	s.mu.Lock()
	now := time.Now()
	s.settle(now)
	return now
}

// sleep waits, whether or not the client still does. false: the server closes.
func (s *Server) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}
