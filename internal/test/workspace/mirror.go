package workspace

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// mirrorVariable names the Debian mirror to use on a machine without apt. The checksums of all packages come from
	// its index, and only TLS protects that. So the user chooses the mirror, preferably one with https.
	mirrorVariable = "BERTH_DEBIAN_MIRROR"
	release        = "bookworm"

	fetchTries   = 4
	fetchTimeout = 5 * time.Minute // of one try
	fetchers     = 4               // packages that are downloaded at once
)

// A mirror is a Debian archive and a directory that keeps packages between runs.
type mirror struct {
	url    string
	arch   string
	cache  string // "" = none
	client *http.Client
	pause  time.Duration // after the first failed try; later ones wait longer
}

// newMirror fails if the user has named no mirror.
func newMirror(arch string) (*mirror, error) {
	url := strings.TrimSuffix(os.Getenv(mirrorVariable), "/")
	if url == "" {
		return nil, errors.New(mirrorVariable + " names no Debian mirror")
	}
	m := &mirror{
		url:   url,
		arch:  arch,
		pause: 500 * time.Millisecond,
		client: &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			MaxIdleConnsPerHost:   fetchers,
			ForceAttemptHTTP2:     true,
		}},
	}
	if dir, err := os.UserCacheDir(); err == nil {
		m.cache = filepath.Join(dir, "berth", "debs")
	}
	return m, nil
}

func (m *mirror) close() { m.client.CloseIdleConnections() }

// index fetches and reads the list of the release's packages.
func (m *mirror) index(ctx context.Context, progress func(string)) (ix *index, err error) {
	progress("reading the package index of " + m.url)
	path := fmt.Sprintf("dists/%s/main/binary-%s/Packages.gz", release, m.arch)
	err = m.get(ctx, path, func(body io.Reader) error {
		plain, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		ix, err = readIndex(plain)
		return err
	})
	return ix, err
}

// fetch downloads the packages, several at once, and returns their contents in the same order.
func (m *mirror) fetch(ctx context.Context, packages []*debPackage, progress func(string)) ([][]byte, error) {
	var (
		debs           = make([][]byte, len(packages))
		total, fetched int64
		done, tenth    int
		mu             sync.Mutex // protects fetched, done, tenth, and calls of progress
	)
	for _, p := range packages {
		total += p.Size
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for i, p := range packages {
		group.Go(func() (err error) {
			if debs[i], err = m.fetchOne(ctx, p); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			fetched += p.Size
			done++
			if now := int(fetched * 10 / total); now > tenth {
				tenth = now
				progress(fmt.Sprintf("downloaded %d of %d packages, %d %% of %d MB", done, len(packages), fetched*100/total, total>>20))
			}
			return nil
		})
	}
	return debs, group.Wait()
}

// fetchOne returns the content of a package, from the cache or the mirror. It checks the content against the checksum
// of the index.
func (m *mirror) fetchOne(ctx context.Context, p *debPackage) ([]byte, error) {
	kept := ""
	if m.cache != "" {
		kept = filepath.Join(m.cache, p.SHA256+".deb")
		if deb, err := os.ReadFile(kept); err == nil && checksum(deb) == p.SHA256 {
			return deb, nil
		}
	}
	var deb []byte
	err := m.get(ctx, p.Filename, func(body io.Reader) (err error) {
		deb, err = io.ReadAll(io.LimitReader(body, p.Size+1))
		if err == nil && checksum(deb) != p.SHA256 {
			err = fmt.Errorf("%s: %d bytes with another checksum than the index has", p.Filename, len(deb))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if kept != "" {
		keep(kept, deb)
	}
	return deb, nil
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// keep writes a file completely or not at all. It ignores errors, because the cache is optional.
func keep(path string, content []byte) {
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// errNoRetry marks errors that another try would not change.
var errNoRetry = errors.New("the mirror refuses")

// get calls read with the body of a file of the mirror. It tries again until read succeeds or the tries are used up.
func (m *mirror) get(ctx context.Context, path string, read func(io.Reader) error) error {
	for try := 1; ; try++ {
		err := m.getOnce(ctx, path, read)
		if err == nil || try == fetchTries || ctx.Err() != nil || errors.Is(err, errNoRetry) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try*try) * m.pause):
		}
	}
}

func (m *mirror) getOnce(ctx context.Context, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	url := m.url + "/" + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		if err := read(response.Body); err != nil {
			return fmt.Errorf("reading %s: %w", url, err)
		}
		return nil
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s: %s", errNoRetry, url, response.Status)
	default:
		return fmt.Errorf("%s: %s", url, response.Status)
	}
}
