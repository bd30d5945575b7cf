package proxy

import (
	"net/http"
	"slices"
	"time"
)

// choose returns the upstream for a request, one that wasn't tried if there is one; nil when none is up.
func (p *proxy) choose(r *http.Request, tried []*upstream) *upstream {
	if len(p.upstreams) == 1 {
		if u := p.upstreams[0]; !u.unwell.Load() {
			return u
		}
		return nil
	}
	now := time.Now().UnixNano()
	var key uint64
	var start uint32
	hashing := p.cfg.Balance == "hash"
	if hashing {
		key = hash(0, p.hashBy(r))
	} else {
		start = p.turn.Add(1)
	}
	var best *upstream
	var bestRank int
	var bestScore uint64
	for i := range p.upstreams {
		u := p.upstreams[(int(start)+i)%len(p.upstreams)]
		if u.unwell.Load() {
			continue
		}
		// The better rank wins, and within it the lower score.
		rank := 0
		if slices.Contains(tried, u) {
			rank += 2
		}
		if u.downTo.Load() > now {
			rank++
		}
		score := uint64(u.active.Load())
		if hashing {
			score = mix(key ^ u.seed) // so that without one upstream, the others' keys stay theirs
		}
		if best == nil || rank < bestRank || rank == bestRank && score < bestScore {
			best, bestRank, bestScore = u, rank, score
		}
	}
	return best
}

// hash is FNV-1a: the same in every process, so that several agree on the upstream.
func hash(h uint64, s string) uint64 {
	h ^= 14695981039346656037
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads what differs in a few bits over all of them.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
