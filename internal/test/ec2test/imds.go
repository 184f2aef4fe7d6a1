package ec2test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tokenPath   = "/latest/api/token"
	tokenTTL    = "X-aws-ec2-metadata-token-ttl-seconds"
	tokenHeader = "X-aws-ec2-metadata-token"
	maxTokenTTL = 6 * time.Hour
)

// Metadata returns the metadata service of an instance, which answers at 169.254.169.254 on EC2. It has the paths that
// cloud-init and a spot instance read, uses tokens as IMDSv2 does, and obeys the instance's metadata options, except
// for the hop limit, which the network enforces.
func (s *Server) Metadata(id string) http.Handler {
	return &imds{server: s, id: id, tokens: make(map[string]time.Time)}
}

// imds is the metadata service of an instance.
type imds struct {
	server *Server
	id     string

	mu     sync.Mutex           // protects tokens
	tokens map[string]time.Time // when each expires
}

// ServeHTTP is part of http.Handler.
func (m *imds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i := m.server.Instance(m.id)
	switch token := r.Header.Get(tokenHeader); {
	case i.Metadata.Endpoint != "enabled":
		http.Error(w, "Forbidden", http.StatusForbidden)
	case r.URL.Path == tokenPath:
		m.issue(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case token == "" && i.Metadata.Tokens == "required", token != "" && !m.valid(token):
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		// The first element is a version. All versions are the same here.
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		text, ok := lookUp(m.server.metadataOf(i), path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}
}

// issue answers a request for a token.
func (m *imds) issue(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTL))
	switch {
	case r.Method != http.MethodPut:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "Forbidden", http.StatusForbidden)
	case err != nil || ttl < 1 || ttl > int(maxTokenTTL.Seconds()):
		http.Error(w, "Bad Request", http.StatusBadRequest)
	default:
		token := rand.Text()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
		w.Header().Set(tokenTTL, strconv.Itoa(ttl))
		fmt.Fprint(w, token)
	}
}

func (m *imds) valid(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.tokens[token])
}

// metadataOf returns the texts of an instance's metadata service, by path.
func (s *Server) metadataOf(i Instance) map[string]string {
	document, _ := json.Marshal(map[string]string{
		"accountId": Account, "architecture": i.Architecture, "availabilityZone": i.Zone, "imageId": i.ImageID,
		"instanceId": i.ID, "instanceType": i.Type, "privateIp": i.PrivateIP, "region": s.opts.Region, "version": "2017-09-30",
	})
	texts := map[string]string{
		"dynamic/instance-identity/document":    string(document),
		"meta-data/ami-id":                      i.ImageID,
		"meta-data/ami-launch-index":            "0",
		"meta-data/hostname":                    hostname(i),
		"meta-data/instance-id":                 i.ID,
		"meta-data/instance-type":               i.Type,
		"meta-data/local-hostname":              hostname(i),
		"meta-data/local-ipv4":                  i.PrivateIP,
		"meta-data/placement/availability-zone": i.Zone,
		"meta-data/placement/region":            s.opts.Region,
		"meta-data/reservation-id":              i.ReservationID,
	}
	if i.PublicIP != "" {
		texts["meta-data/public-ipv4"] = i.PublicIP
	}
	if i.UserData != nil {
		texts["user-data"] = string(i.UserData)
	}
	if !i.Notice.IsZero() {
		at := i.Notice.UTC().Format(time.RFC3339)
		texts["meta-data/spot/instance-action"] = fmt.Sprintf(`{"action":"terminate","time":%q}`, at)
		texts["meta-data/spot/termination-time"] = at
	}
	if !i.Rebalance.IsZero() {
		texts["meta-data/events/recommendations/rebalance"] = fmt.Sprintf(`{"noticeTime":%q}`, i.Rebalance.UTC().Format(time.RFC3339))
	}
	return texts
}

// hostname returns the private DNS name that EC2 gives to an address.
func hostname(i Instance) string {
	return "ip-" + strings.ReplaceAll(i.PrivateIP, ".", "-") + ".ec2.internal"
}

// lookUp returns the text at a path, or the names below it. A name with names below it ends in a slash.
func lookUp(texts map[string]string, path string) (string, bool) {
	if text, ok := texts[path]; ok {
		return text, true
	}
	if path != "" && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	names := make(map[string]bool)
	for full := range texts {
		if rest, ok := strings.CutPrefix(full, path); ok {
			name, _, deeper := strings.Cut(rest, "/")
			if deeper {
				name += "/"
			}
			names[name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n"), len(names) > 0
}
