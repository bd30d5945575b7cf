package session

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// errGone is answered with 409, since the request came to nothing because of another one.
var errGone = failure.WithStatus(errors.New("session: it has ended, or another request has ended it or given it a new id; "+
	"the changes are not stored"), http.StatusConflict)

// data is the session of one request: what was stored, and what has changed since.
type data struct {
	id      string // as the visitor knows it; empty while there is no session
	old     string // of one that the cookie stood for, until it is deleted: destroyed, or past our limits
	values  map[string]any
	changes map[string]any // what save is to do; nil deletes a key
	ended   bool           // destroyed in this request
	renewed bool
	due     bool // this use is to be recorded though nothing has changed
	sent    bool // the request came with a cookie of our name

	cookie cookieFate
	expiry time.Time // the stored session's
}

type cookieFate int

const (
	cookieKept cookieFate = iota
	cookieSet
	cookieRemoved
)

func (k *keeper) load(r *http.Request) (*data, error) {
	d := &data{values: make(map[string]any)}
	tries := 4 // browsers send two or three at worst; more are somebody's game with the store
	for _, c := range r.CookiesNamed(k.cookie.Name) {
		d.sent = true
		if !validID(c.Value) || tries == 0 {
			continue
		}
		tries--
		rec, found, err := k.find(r.Context(), c.Value)
		if err != nil {
			return nil, err
		}
		if found && k.live(&rec) {
			d.id, d.values, d.expiry = c.Value, rec.values, rec.expiry
			d.due = rec.due(time.Now(), k.lifetime, k.idle)
			break
		}
		if found && d.old == "" {
			d.old = c.Value
		}
	}
	return d, nil
}

func (d *data) set(key string, value any) {
	d.values[key] = value
	d.note(key, value)
}

func (d *data) remove(key string) {
	if _, there := d.values[key]; there {
		delete(d.values, key)
		d.note(key, nil)
	}
}

func (d *data) note(key string, value any) {
	if d.changes == nil {
		d.changes = make(map[string]any)
	}
	d.changes[key] = value
}

// renew has nothing to do where there is no session: one that begins gets a new id anyway.
func (d *data) renew() { d.renewed = d.id != "" }

func (d *data) destroy() {
	if d.id != "" {
		d.old = d.id
	}
	d.ended = true
	if d.sent {
		d.cookie = cookieRemoved
	}
	d.id, d.values, d.changes, d.renewed, d.due = "", make(map[string]any), nil, false, false
}

// needsCookie reports whether save will want to set a cookie without which the session is lost.
func (d *data) needsCookie() bool { return d.renewed || d.id == "" && len(d.values) > 0 }

// save brings the store up to date. After an error it may be called again.
func (d *data) save(ctx context.Context, k *keeper) error {
	begins := d.id == "" && len(d.values) > 0
	if d.old != "" && (d.ended || begins) {
		if err := d.end(ctx, k); err != nil {
			return err
		}
	}
	switch {
	case d.id != "" && (len(d.changes) > 0 || d.renewed):
		return d.update(ctx, k)
	case d.id != "" && d.due:
		// A use that isn't recorded is no reason to fail the request.
		if err := d.update(ctx, k); err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
			k.log.WarnContext(ctx, "the use of a session isn't recorded; it may end early", "error", err)
		}
	case begins:
		return d.begin(ctx, k)
	}
	return nil
}

func (d *data) begin(ctx context.Context, k *keeper) error {
	id, rec := newID(), record{began: time.Now(), values: d.values}
	if err := k.commit(ctx, id, &rec); err != nil {
		return err
	}
	d.stored(id, cookieSet, &rec)
	return nil
}

func (d *data) end(ctx context.Context, k *keeper) error {
	unlock, err := k.lock(ctx, d.old)
	if err != nil {
		return err
	}
	defer unlock()
	if err := k.remove(ctx, d.old); err != nil {
		return err
	}
	d.old = ""
	return nil
}

// update applies the changes to what the store holds now.
func (d *data) update(ctx context.Context, k *keeper) error {
	unlock, err := k.lock(ctx, d.id)
	if err != nil {
		return err
	}
	defer unlock()
	rec, found, err := k.find(ctx, d.id)
	if err != nil {
		return err
	}
	if !found || !k.live(&rec) {
		return errGone
	}
	maps.Copy(rec.values, d.changes)
	maps.DeleteFunc(rec.values, func(_ string, value any) bool { return value == nil })

	id, before, fate := d.id, rec.expiry, d.cookie
	if d.renewed {
		id, fate, rec.began = newID(), cookieSet, time.Now()
	}
	if err := k.commit(ctx, id, &rec); err != nil {
		return err
	}
	if d.renewed {
		// The new one is there already, so that an error here loses nothing: the visitor keeps the
		// old id, and nobody knows the new one.
		if err := k.remove(ctx, d.id); err != nil {
			return err
		}
	}
	if k.cookie.Persist && rec.expiry.After(before) {
		fate = cookieSet
	}
	d.stored(id, fate, &rec)
	return nil
}

// stored says that the store holds rec now.
func (d *data) stored(id string, fate cookieFate, rec *record) {
	d.id, d.cookie, d.expiry, d.values = id, fate, rec.expiry, rec.values
	d.changes, d.renewed, d.due = nil, false, false
}
