package pool

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// pool is what the requests of an instance share.
type pool struct {
	Config
	log     *slog.Logger
	restart func(reason string) // asks for the process to be restarted
	workers chan struct{}       // one in it for each that is busy
	waiting atomic.Int64
	zombies atomic.Int64
	name    string // told from those of all other pools
	served  atomic.Uint64

	mu      sync.Mutex
	refused int       // since the log told of it
	told    time.Time // when it did
}

func newPool(cfg Config, log *slog.Logger, restart func(reason string)) *pool {
	return &pool{Config: cfg, log: log, restart: restart, workers: make(chan struct{}, cfg.Workers), name: rand.Text()}
}

func (p *pool) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if !p.enter(r) {
		if err := context.Cause(r.Context()); err != nil {
			failure.Report(r, err) // it is for others to say whether the client left
			return
		}
		p.refuse(w)
		return
	}
	j := newJob(p, w, r)
	defer j.leave()
	go j.run(next)
	j.wait()
}

// enter takes a worker, and returns false when there is none in time, or the context ended.
func (p *pool) enter(r *http.Request) bool {
	select {
	case p.workers <- struct{}{}:
		return true
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > int64(p.Queue) {
		return false
	}
	place := environ.PlaceOf(r)
	place.Wait(true)
	defer place.Wait(false)
	timer := time.NewTimer(p.QueueTime)
	defer timer.Stop()
	select {
	case p.workers <- struct{}{}:
		return true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return false
}

// tellEvery is how often the log tells of requests that were refused.
const tellEvery = 10 * time.Second

func (p *pool) refuse(w http.ResponseWriter) {
	p.mu.Lock()
	p.refused++
	if now := time.Now(); now.Sub(p.told) >= tellEvery {
		p.log.Warn("the pool is full, requests are refused", "refused", p.refused, "workers", p.Workers, "queue", p.Queue)
		p.refused, p.told = 0, now
	}
	p.mu.Unlock()
	seconds := strconv.FormatInt(int64((p.QueueTime+time.Second-1)/time.Second), 10)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", seconds)
	http.Error(w, "503 Service Unavailable: too many requests are under way; please try again in "+seconds+" s", http.StatusServiceUnavailable)
}

func (p *pool) close() {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	if refused > 0 {
		p.log.Warn("the pool was full, requests were refused", "refused", refused)
	}
	if zombies := p.zombies.Load(); zombies > 0 {
		p.log.Error("the pool is closed, and hung requests go on running", "zombies", zombies)
	}
}
