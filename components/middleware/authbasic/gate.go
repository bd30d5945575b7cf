package authbasic

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// verdict is what becomes of a name and a password.
type verdict int

const (
	refused verdict = iota
	admitted
	crowded // it wasn't tried
)

// gate tries names and passwords.
type gate struct {
	users map[string]*user
	decoy hash // what an unknown name is tried against; nil when there are no users
	turns chan struct{}
	wait  time.Duration
	key   [32]byte // of the digests; it never leaves the process
}

// user is one line of the file.
type user struct {
	hash  hash
	right atomic.Pointer[[sha256.Size]byte] // the digest of the last right password
}

func newGate(list []line, parallel int, wait time.Duration) *gate {
	g := &gate{users: make(map[string]*user, len(list)), turns: make(chan struct{}, parallel), wait: wait}
	for _, l := range list {
		g.users[l.name] = &user{hash: l.hash}
	}
	if len(list) > 0 {
		g.decoy = list[0].hash
	}
	_, _ = rand.Read(g.key[:]) // it never fails
	return g
}

// ask tries a password. It waits for its turn, not longer than the request.
func (g *gate) ask(ctx context.Context, name, password string) verdict {
	u := g.users[name]
	digest := g.digest(name, password)
	if u != nil {
		if right := u.right.Load(); right != nil && hmac.Equal(right[:], digest[:]) {
			return admitted
		}
	}
	if g.decoy == nil {
		return refused
	}
	if !g.enter(ctx) {
		return crowded
	}
	defer func() { <-g.turns }()
	if u == nil {
		g.decoy.matches(password)
		return refused
	}
	if !u.hash.matches(password) {
		return refused
	}
	u.right.Store(&digest)
	return admitted
}

// enter waits for a turn.
func (g *gate) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case g.turns <- struct{}{}:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, g.wait)
	defer cancel()
	select {
	case g.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// digest is what is remembered of a right password: nothing that could be tried elsewhere.
func (g *gate) digest(name, password string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, g.key[:])
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(name)))
	mac.Write(length[:])
	mac.Write([]byte(name))
	mac.Write([]byte(password))
	mac.Sum(sum[:0])
	return sum
}
