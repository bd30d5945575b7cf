package ratelimit

import (
	"container/list"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter has the buckets of an instance.
type limiter struct {
	limit rate.Limit
	burst int
	most  int

	mu      sync.Mutex
	buckets map[key]*list.Element
	used    list.List // of *bucket, the one used last in front
}

// bucket is what one client has left.
type bucket struct {
	client key
	*rate.Limiter
}

func newLimiter(requests int, per time.Duration, burst, most int) *limiter {
	if burst == 0 {
		burst = requests
	}
	return &limiter{
		limit:   rate.Limit(float64(requests) / per.Seconds()),
		burst:   burst,
		most:    most,
		buckets: make(map[key]*list.Element),
	}
}

// take takes a request out of the client's bucket. If there is none, it returns how long it takes until
// there is.
func (l *limiter) take(client key, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.bucket(client, now).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// bucket returns the client's bucket, which is a full one if it isn't known.
func (l *limiter) bucket(client key, now time.Time) *bucket {
	if e := l.buckets[client]; e != nil {
		l.used.MoveToFront(e)
		return e.Value.(*bucket)
	}
	l.forget(now)
	b := &bucket{client, rate.NewLimiter(l.limit, l.burst)}
	l.buckets[client] = l.used.PushFront(b)
	return b
}

// forget makes room for one more bucket. It looks at two, which is enough for the full ones to go
// faster than new ones come.
func (l *limiter) forget(now time.Time) {
	for range 2 {
		e := l.used.Back()
		if e == nil {
			return
		}
		b := e.Value.(*bucket)
		if len(l.buckets) < l.most && b.TokensAt(now) < float64(l.burst) {
			return
		}
		l.used.Remove(e)
		delete(l.buckets, b.client)
	}
}

// refuse answers a client that must wait.
func refuse(w http.ResponseWriter, wait time.Duration) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	http.Error(w, "429 Too Many Requests: please try again in "+strconv.FormatInt(seconds, 10)+" s", http.StatusTooManyRequests)
}
