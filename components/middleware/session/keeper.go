package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/stackd/stackd/registry/session"
)

// keeper is what the requests of one slot share.
type keeper struct {
	store          session.Store
	lifetime, idle time.Duration
	cookie         cookie
	log            *slog.Logger

	// A request that changes a stored session holds the lock that its id falls to, from reading
	// what is stored until it has written. Channels, since waiting must end with the context.
	locks [64]chan struct{}
	seed  maphash.Seed
}

func newKeeper(cfg Config, log *slog.Logger) *keeper {
	k := &keeper{
		store:    cfg.Store.Get(),
		lifetime: cfg.Lifetime,
		idle:     cfg.Idle,
		cookie:   cfg.Cookie,
		log:      log,
		seed:     maphash.MakeSeed(),
	}
	for i := range k.locks {
		k.locks[i] = make(chan struct{}, 1)
	}
	return k
}

func (k *keeper) lock(ctx context.Context, id string) (unlock func(), err error) {
	l := k.locks[maphash.String(k.seed, id)%uint64(len(k.locks))]
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("session: waiting for another request that stores it: %w", ctx.Err())
	}
}

const idBytes = 32 // 256 bits

// encoding returns how ids are written. It is strict, so that no two texts are one id.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return encoding().EncodeToString(b[:])
}

// validID reports whether s looks like an id, so that nothing else reaches the store.
func validID(s string) bool {
	if len(s) != encoding().EncodedLen(idBytes) {
		return false
	}
	_, err := encoding().DecodeString(s)
	return err == nil
}

// token returns what the store knows an id as.
func token(id string) string {
	sum := sha256.Sum256([]byte(id))
	return encoding().EncodeToString(sum[:])
}

func (k *keeper) find(ctx context.Context, id string) (rec record, found bool, err error) {
	data, found, err := k.store.Find(ctx, token(id))
	if err != nil {
		return record{}, false, fmt.Errorf("session: %w", err)
	}
	if !found {
		return record{}, false, nil
	}
	if rec, err = decode(data); err != nil {
		k.log.WarnContext(ctx, "a stored session can't be read; it counts as none", "error", err)
		return record{}, false, nil
	}
	return rec, true, nil
}

// live reports whether a session that was found still counts, by the limits of this slot.
func (k *keeper) live(rec *record) bool { return rec.live(time.Now(), k.lifetime, k.idle) }

func (k *keeper) commit(ctx context.Context, id string, rec *record) error {
	rec.use(time.Now(), k.lifetime, k.idle)
	data, err := rec.encode()
	if err == nil {
		err = k.store.Commit(ctx, token(id), data, rec.expiry)
	}
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return nil
}

func (k *keeper) remove(ctx context.Context, id string) error {
	if err := k.store.Delete(ctx, token(id)); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return nil
}
