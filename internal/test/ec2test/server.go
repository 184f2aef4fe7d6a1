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

	mu        sync.Mutex // protects the fields below; never held while waiting
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
	profiles  map[string]time.Time // instance profiles, and when EC2 begins to see them
	skew      time.Duration        // of the server's clock
}

// New returns a Server. It has a default VPC with three subnets and a security group, and images that its SSM
// parameters name. It serves its Client. Other clients need Listen.
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

// URL returns the endpoint of all three services for Client. Nothing listens there.
func (s *Server) URL() string { return "http://aws.test" }

// Client returns a client that sends every request to this server through memory. It does not use the network, so it
// works in virtual time, inside a bubble of testing/synctest.
func (s *Server) Client() *http.Client { return s.client }

// Listen makes the server listen on a port of the loopback interface, too, until Close, and returns the URL. It is for
// other processes: within this process, Client is more reliable. The server then needs some Latency. If an answer
// arrives before the client's net/http has found the end of the request, the SDK sometimes loses the answer; see
// transport.
func (s *Server) Listen() (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.serve(l)
	return "http://" + l.Addr().String(), nil
}

// Close cuts every connection, calls the functions that Boot has returned, and waits for them.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.closing)
		_ = s.http.Close()
		_ = s.memory.Close()
		s.client.CloseIdleConnections()
	})
	s.wg.Wait()
}

// lock locks the state, settles it, and returns the present time.
func (s *Server) lock() time.Time {
	s.mu.Lock()
	now := time.Now()
	s.settle(now)
	return now
}

// sleep waits for d, even if the client has given up. It returns false if the server closes.
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
