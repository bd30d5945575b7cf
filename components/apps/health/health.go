// Package health tells load balancers and supervisors whether to count on this server.
//
//	urls:
//	  /health/live:  {finder: {use: health}}
//	  /health/ready:
//	    finder:
//	      use: health
//	      needs: ["127.0.0.1:5432", "unix:/run/redis.sock"]
//	      unless: maintenance
//
// Without settings it answers 200 as long as the process answers at all: that is "live". With needs or
// unless it answers 503 when requests had better go elsewhere for now, which is "ready": when one of the
// addresses takes no connections, or the file exists.
//
// The answer is a line of text: up, or down. It is never to be cached.
package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the health app.
var Component = registry.App[Config]{
	Name:    "health",
	Default: Config{Timeout: time.Second, Every: time.Second},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says what must be well for this server to be.
type Config struct {
	// Needs are the addresses of servers, such as a database, that must take connections. Nothing is said on
	// the connections.
	Needs []registry.Address `yaml:"needs" validate:"unique,dive,required"`
	// Unless is a file that must not exist: making it takes this server out, and removing it brings it
	// back.
	Unless registry.Path `yaml:"unless"`
	// Timeout is how long one of needs may take to take a connection.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms"`
	// Every is for how long an answer about needs holds, so that many questions don't become many
	// connections.
	Every time.Duration `yaml:"every" validate:"min=0s"`
	// Details says whether an answer of 503 names what isn't well. Without it only the log does.
	Details bool `yaml:"details"`
}

// Traits says that it may wait when there is something to look at.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if len(c.Needs) > 0 || c.Unless != "" {
		t.Calls = registry.Blocking
	}
	return t
}

func build(env *registry.Env, cfg Config) (http.Handler, error) {
	h := &health{cfg: cfg, turn: make(chan struct{}, 1)}
	log := env.Logger()
	h.changed = func(down []string) {
		if len(down) > 0 {
			log.Warn("this server is down", "because", strings.Join(down, "; "))
		} else {
			log.Info("this server is up again")
		}
	}
	return h, nil
}

type health struct {
	cfg     Config
	changed func(down []string)

	turn chan struct{} // holds a token while somebody asks
	at   time.Time     // when it was asked
	down []string      // what was found, one text for each
	was  bool          // whether it was down then, the file included
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusOK, "up\n"
	if len(h.cfg.Needs) > 0 || h.cfg.Unless != "" {
		down, err := h.look(r.Context())
		if err != nil {
			panic(http.ErrAbortHandler) // nobody is left to tell
		}
		if len(down) > 0 {
			status, text = http.StatusServiceUnavailable, "down\n"
			if h.cfg.Details {
				text = "down: " + strings.Join(down, "; ") + "\n"
			}
		}
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write([]byte(text))
	}
}

// look returns what isn't well. Of several that ask at a time one looks, and the others get what it found; the
// error says that ctx has ended.
func (h *health) look(ctx context.Context) ([]string, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if now := time.Now(); h.at.IsZero() || now.Sub(h.at) >= h.cfg.Every {
		down := h.ask(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		h.at, h.down = now, down
	}
	down := slices.Clip(h.down)
	if h.cfg.Unless != "" {
		// A file that can't be looked at might be there.
		if _, err := os.Stat(string(h.cfg.Unless)); !errors.Is(err, fs.ErrNotExist) {
			down = append(down, "the file "+string(h.cfg.Unless)+" exists")
		}
	}
	if is := len(down) > 0; is != h.was {
		h.was = is
		h.changed(down)
	}
	return down, nil
}

// ask connects to all that is needed.
func (h *health) ask(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	errs := make([]error, len(h.cfg.Needs))
	var wg sync.WaitGroup
	for i, address := range h.cfg.Needs {
		wg.Go(func() {
			var d net.Dialer
			network, where := address.Network()
			conn, err := d.DialContext(ctx, network, where)
			if err == nil {
				err = conn.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	var down []string
	for i, err := range errs {
		if err != nil {
			down = append(down, fmt.Sprintf("%s: %v", h.cfg.Needs[i], err))
		}
	}
	return down
}
