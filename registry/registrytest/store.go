package registrytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/session"
)

const storeContract = "package session, Store"

// storeRule makes a rule of a check on a fresh store.
func storeRule(name, text string, check func(ctx context.Context, s session.Store) error) rule {
	return rule{name: name, text: text, where: storeContract, check: func(k *kit) error {
		s, err := product[session.Store](k)
		if err != nil {
			return err
		}
		return k.within("the store", func(ctx context.Context) error { return check(ctx, s) })
	}}
}

var storeRules = []rule{
	storeRule("find", "what was committed is found, byte for byte, until it expires", storeFind),
	storeRule("unknown", "a token that is unknown or malformed is not found, which is no error", storeUnknown),
	storeRule("overwrite", "Commit replaces what was there, the expiry too", storeOverwrite),
	storeRule("delete", "Delete removes a token; one that isn't there is no error", storeDelete),
	storeRule("expiry", "a token that has expired is not found, which is no error", storeExpiry),
	storeRule("isolation", "data is the store's to keep once Commit returns, and the caller's once Find returned it", storeIsolation),
	storeRule("tokens", "data is kept under the token, whatever other token is like it", storeTokens),
	storeRule("big", "data of a megabyte is kept like any other", storeBig),
	storeRule("context", "all methods end when ctx ends", storeContext),
	{
		name:  "concurrent",
		text:  "all methods are safe for concurrent use, and Find sees what one Commit stored",
		where: storeContract,
		check: storeConcurrent,
	},
	{
		name:  "persistent",
		text:  "a store declared Persistent has its data after it was built again, and beside the old instance",
		where: "package registrytest, Case",
		check: storePersistent,
	},
}

// newToken returns a token like those that a session keeper uses.
func newToken() string { return rand.Text() + rand.Text() }

// later is an expiry that no check lives to see.
func later() time.Time { return time.Now().Add(time.Hour) }

// finds returns an error unless the store has this data.
func finds(ctx context.Context, s session.Store, token string, want []byte) error {
	got, found, err := s.Find(ctx, token)
	switch {
	case err != nil:
		return fmt.Errorf("Find(%s): %w", short(token), err)
	case !found:
		return fmt.Errorf("Find(%s): not found; it was committed", short(token))
	case !bytes.Equal(got, want):
		return fmt.Errorf("Find(%s): got %s, want %s", short(token), short(string(got)), short(string(want)))
	}
	return nil
}

// misses returns an error unless the store says that it doesn't have the token.
func misses(ctx context.Context, s session.Store, token, why string) error {
	data, found, err := s.Find(ctx, token)
	switch {
	case err != nil:
		return fmt.Errorf("Find(%s), %s: %w", short(token), why, err)
	case found:
		return fmt.Errorf("Find(%s), %s: found %s", short(token), why, short(string(data)))
	}
	return nil
}

func commit(ctx context.Context, s session.Store, token string, data []byte, expiry time.Time) error {
	if err := s.Commit(ctx, token, data, expiry); err != nil {
		return fmt.Errorf("Commit(%s): %w", short(token), err)
	}
	return nil
}

func short(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q… (%d bytes)", s[:60], len(s))
	}
	return fmt.Sprintf("%q", s)
}

func storeFind(ctx context.Context, s session.Store) error {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, data := range [][]byte{[]byte("data"), {}, every, []byte("\x00"), []byte("'; --")} {
		t := newToken()
		if err := errors.Join(commit(ctx, s, t, data, later()), finds(ctx, s, t, data), finds(ctx, s, t, data)); err != nil {
			return err
		}
	}
	t := newToken()
	return errors.Join(
		commit(ctx, s, t, []byte("long"), time.Now().AddDate(20, 0, 0)),
		finds(ctx, s, t, []byte("long")),
	)
}

func storeUnknown(ctx context.Context, s session.Store) error {
	errs := []error{commit(ctx, s, newToken(), []byte("other"), later())}
	for _, t := range []string{
		newToken(), "", "x", "..", "../../etc/passwd", "/etc/passwd", "a/b", `a\b`, "*", "%", "_", "'", "\n", "a b",
		"\x00", "\xff\xfe", "%00", strings.Repeat("x", 5000),
	} {
		errs = append(errs, misses(ctx, s, t, "which nobody committed"))
	}
	return errors.Join(errs...)
}

func storeOverwrite(ctx context.Context, s session.Store) error {
	t, gone := newToken(), newToken()
	return errors.Join(
		commit(ctx, s, t, []byte("the first and longer one"), later()),
		commit(ctx, s, t, []byte("second"), later()),
		finds(ctx, s, t, []byte("second")),
		commit(ctx, s, gone, []byte("first"), later()),
		commit(ctx, s, gone, []byte("second"), time.Now().Add(-time.Minute)),
		misses(ctx, s, gone, "committed again with an expiry in the past"),
		commit(ctx, s, gone, []byte("third"), later()),
		finds(ctx, s, gone, []byte("third")),
	)
}

func storeDelete(ctx context.Context, s session.Store) error {
	t, other := newToken(), newToken()
	del := func(t string) error {
		if err := s.Delete(ctx, t); err != nil {
			return fmt.Errorf("Delete(%s): %w", short(t), err)
		}
		return nil
	}
	return errors.Join(
		commit(ctx, s, t, []byte("data"), later()),
		commit(ctx, s, other, []byte("other"), later()),
		del(t),
		misses(ctx, s, t, "which was deleted"),
		finds(ctx, s, other, []byte("other")),
		del(t), del(newToken()), del(""), del("../x"),
		commit(ctx, s, t, []byte("again"), later()),
		finds(ctx, s, t, []byte("again")),
	)
}

func storeExpiry(ctx context.Context, s session.Store) error {
	past, never, soon := newToken(), newToken(), newToken()
	expiry := time.Now().Add(50 * time.Millisecond)
	err := errors.Join(
		commit(ctx, s, past, []byte("old"), time.Now().Add(-time.Second)),
		misses(ctx, s, past, "committed with an expiry in the past"),
		commit(ctx, s, never, []byte("old"), time.Time{}),
		misses(ctx, s, never, "committed with the zero time as expiry"),
		commit(ctx, s, soon, []byte("soon"), expiry),
	)
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(expiry))
	defer timer.Stop()
	<-timer.C
	// A store may count in seconds.
	return eventually(patience/4, func() error { return misses(ctx, s, soon, "whose expiry has passed") })
}

func storeIsolation(ctx context.Context, s session.Store) error {
	t, data, want := newToken(), []byte("data"), []byte("data")
	if err := commit(ctx, s, t, data, later()); err != nil {
		return err
	}
	copy(data, "XXXX")
	if err := finds(ctx, s, t, want); err != nil {
		return fmt.Errorf("after the caller changed what it had committed: %w", err)
	}
	got, _, err := s.Find(ctx, t)
	if err != nil {
		return err
	}
	copy(got, "YYYY")
	_ = append(got[:0], "ZZZZZZZZ"...)
	if err := finds(ctx, s, t, want); err != nil {
		return fmt.Errorf("after the caller changed what it had found: %w", err)
	}
	return nil
}

func storeTokens(ctx context.Context, s session.Store) error {
	// Of a length and alphabet that any store can keep: hashes in base64 are like that.
	base := strings.Repeat("Ab-_", 10)
	like := []string{
		base + "xyz", strings.ToLower(base) + "xyz", strings.ToUpper(base) + "xyz", base + "xyZ", base + "xy",
		base + "x_z", base + "x-z", "xyz" + base,
	}
	var errs []error
	for _, t := range like {
		errs = append(errs, misses(ctx, s, t, "which nobody committed"), commit(ctx, s, t, []byte(t), later()))
	}
	for _, t := range like {
		errs = append(errs, finds(ctx, s, t, []byte(t)))
	}
	// Of others a store may say that it can't keep them, but not lose them.
	odd := []string{"\x00\x01\xff", "../evil", "a/b", "a\nb", "'", "ä", strings.Repeat("long", 300)}
	odd = slices.DeleteFunc(odd, func(t string) bool { return s.Commit(ctx, t, []byte(t), later()) != nil })
	for _, t := range odd {
		errs = append(errs, finds(ctx, s, t, []byte(t)))
	}
	return errors.Join(errs...)
}

func storeBig(ctx context.Context, s session.Store) error {
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data) // never fails
	t := newToken()
	return errors.Join(commit(ctx, s, t, data, later()), finds(ctx, s, t, data))
}

func storeContext(ctx context.Context, s session.Store) error {
	known := newToken()
	if err := commit(ctx, s, known, []byte("data"), later()); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	t := newToken()
	data, found, err := s.Find(ended, known)
	if err == nil && (!found || string(data) != "data") {
		return fmt.Errorf("Find with a context that has ended: got %s, found %t and no error, want the data or an error", short(string(data)), found)
	}
	if err := s.Commit(ended, t, []byte("data"), later()); err == nil {
		if err := finds(ctx, s, t, []byte("data")); err != nil {
			return fmt.Errorf("after Commit, with a context that has ended, returned no error: %w", err)
		}
	}
	if err := s.Delete(ended, known); err == nil {
		return misses(ctx, s, known, "after Delete, with a context that has ended, returned no error")
	}
	return nil
}

func storeConcurrent(k *kit) error {
	s, err := product[session.Store](k)
	if err != nil {
		return err
	}
	shared := newToken()
	return k.together("the store", func(ctx context.Context, i int) error {
		own := newToken()
		// Each writer's data is of one byte repeated, so that a mixture shows.
		data := bytes.Repeat([]byte{byte(i)}, 100+i)
		if err := errors.Join(
			commit(ctx, s, own, data, later()),
			commit(ctx, s, shared, data, later()),
			finds(ctx, s, own, data),
		); err != nil {
			return err
		}
		got, found, err := s.Find(ctx, shared)
		if err != nil || !found {
			return fmt.Errorf("Find of a token that all commit: found %t, %w", found, err)
		}
		if len(got) < 100 || !bytes.Equal(got, bytes.Repeat(got[:1], 100+int(got[0]))) {
			return fmt.Errorf("Find got a mixture of what several committed: %x", got)
		}
		if err := s.Delete(ctx, own); err != nil {
			return fmt.Errorf("Delete: %w", err)
		}
		return misses(ctx, s, own, "which was deleted")
	})
}

func storePersistent(k *kit) error {
	if !k.persistent {
		return nil
	}
	t, beside := newToken(), newToken()
	first, err := k.instance()
	if err != nil {
		return err
	}
	second, err := k.instance()
	if err != nil {
		return err
	}
	one, two := first.Product.(session.Store), second.Product.(session.Store)
	err = k.within("the store", func(ctx context.Context) error {
		return errors.Join(
			commit(ctx, one, t, []byte("data"), later()),
			finds(ctx, two, t, []byte("data")),
			commit(ctx, two, beside, []byte("beside"), later()),
			finds(ctx, one, beside, []byte("beside")),
		)
	})
	if err != nil {
		return err
	}
	k.close(first)
	k.close(second)
	again, err := product[session.Store](k)
	if err != nil {
		return err
	}
	return k.within("the store", func(ctx context.Context) error {
		return errors.Join(finds(ctx, again, t, []byte("data")), finds(ctx, again, beside, []byte("beside")))
	})
}
