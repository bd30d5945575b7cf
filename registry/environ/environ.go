// Package environ is what one request carries down the stack: WSGI's environ
// dictionary, typed.
//
// A package that hands something down declares a key for it, once:
//
//	var Key = environ.NewKey[*Cart]("cart")
//
// A middleware sets the value, whatever stands further in gets it:
//
//	cart.Key.Set(r, c)
//	c := cart.Key.Get(r)
//
// The record behind it is made once for each request, at the root of the stack,
// and is found through the request's context, so it survives every
// [http.Request.WithContext] and copy on the way. A key is an index into the
// record: Get neither hashes nor allocates.
//
// A record belongs to the goroutine that runs the request's handlers. One that
// hands the request to another goroutine must not set keys at the same time.
package environ

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// inline is how many values a record holds without a second allocation. It is
// more than the keys that stackd's own packages declare.
const inline = 16

// keys are the names of all keys declared so far, by index. Keys are declared by
// package variables, so the list is complete before main begins.
var keys struct {
	sync.Mutex
	names []string
	// inherited are the indexes of those that a mounted stack takes over.
	inherited []int
}

// Key names one value of type T in the environ of a request. The zero Key is not
// usable; make keys with [NewKey], in a package variable.
type Key[T any] struct {
	name  string
	index int
}

// Name is a key of any type, as a component's traits list it.
type Name interface{ Name() string }

// NewKey declares a key. The name is what messages call it ("session needs …");
// it panics when the name is empty or taken, since two packages would then
// mistake each other's values.
//
// The requests of a stack that is mounted in another begin without a value; for a key that they
// inherit, see [NewInherited].
func NewKey[T any](name string) Key[T] { return newKey[T](name, false) }

// NewInherited is NewKey for what a stack that is mounted in another takes over: the
// value that is set where it is mounted. What the inner stack sets stays within it.
//
// That is for facts about the request, such as who sent it, and where failures go. It
// is not for what a piece of the outer stack does for the apps further in, such as the session: a
// stack has to work the same whether it is mounted or run by itself.
func NewInherited[T any](name string) Key[T] { return newKey[T](name, true) }

func newKey[T any](name string, inherited bool) Key[T] {
	keys.Lock()
	defer keys.Unlock()
	if name == "" {
		panic("environ: a key must have a name")
	}
	for _, taken := range keys.names {
		if taken == name {
			panic(fmt.Sprintf("environ: key %q is declared twice", name))
		}
	}
	if inherited {
		keys.inherited = append(keys.inherited, len(keys.names))
	}
	keys.names = append(keys.names, name)
	return Key[T]{name: name, index: len(keys.names) - 1}
}

// Name returns the name the key was declared with.
func (k Key[T]) Name() string { return k.name }

// Get returns the value that was set for r, or T's zero value when there is none.
func (k Key[T]) Get(r *http.Request) T {
	v, _ := k.Lookup(r)
	return v
}

// Lookup is Get that also says whether a value was set.
func (k Key[T]) Lookup(r *http.Request) (T, bool) {
	rec, ok := r.Context().Value(recordKey{}).(*record)
	if !ok || k.index >= len(rec.values) { // a record that isn't open has no values
		var zero T
		return zero, false
	}
	v, ok := rec.values[k.index].(T)
	return v, ok
}

// Set sets the value for r and everything that shares its record: the request
// that the stack's root was given and each copy made of it since.
//
// It panics when r has no record, which happens only outside a stack; a test
// opens one with [Base.Open].
func (k Key[T]) Set(r *http.Request, v T) {
	rec, ok := r.Context().Value(recordKey{}).(*record)
	if !ok || !rec.open {
		panic(fmt.Sprintf("environ: %s is set on a request without an environ; open one with Base.Open", k.name))
	}
	rec.set(k.index, v)
}

// Preset sets the value that every request opened from b starts with.
func (k Key[T]) Preset(b *Base, v T) { b.rec.set(k.index, v) }

// Base is what the requests of one route start with. Fill it with [Key.Preset];
// once its first request is open it must not change. The zero Base is empty and
// ready to use.
type Base struct{ rec record }

// Open returns r with an environ of its own, filled from b. That is a copy of r,
// unless its server has made a [Room] for the environ. A request that has one
// already, since its stack is mounted in another, gets a fresh one: what the outer
// stack set stays the outer stack's, save the values of inherited keys and the [Generation].
func (b *Base) Open(r *http.Request) *http.Request {
	outer, ok := r.Context().Value(recordKey{}).(*record)
	if ok && !outer.open {
		outer.fill(b)
		return r
	}
	f := &frame{Context: r.Context()}
	f.rec.fill(b)
	if ok {
		f.rec.inherit(outer)
	}
	return r.WithContext(f)
}

// Room is the memory for one request's environ. A server that gives each request a
// context of its own makes the room part of it, and saves the request another
// copy. The context asks its room first:
//
//	func (c *requestContext) Value(key any) any {
//		if v := c.room.Value(key); v != nil {
//			return v
//		}
//		return c.Context.Value(key)
//	}
//
// The zero Room is ready to use, and must not be copied.
type Room struct{ rec record }

// SetGeneration says which generation the request is for; see [Generation]. Call it before the
// request is handed on.
func (room *Room) SetGeneration(number uint64) { room.rec.generation = number }

// Value returns what the context in which the room is has under key on behalf of
// this package, or nil.
func (room *Room) Value(key any) any {
	if _, ok := key.(recordKey); ok { // which costs half of what comparing the keys does
		return &room.rec
	}
	return nil
}

type recordKey struct{}

// record is the values of one request.
type record struct {
	open       bool
	own        Place // of a request that isn't in a mounted stack
	generation uint64
	place      *Place
	values     []any
	array      [inline]any
}

func (rec *record) fill(b *Base) {
	mounted := rec.values
	rec.open, rec.place = true, &rec.own
	if mounted == nil {
		rec.values = append(rec.array[:0], b.rec.values...)
		return
	}
	prefix := mounted[Prefix.index] // of Room.Mount
	rec.values = append(rec.array[:0], b.rec.values...)
	rec.set(Prefix.index, prefix)
}

// inherit takes over from the record of the stack around what b doesn't say itself.
func (rec *record) inherit(outer *record) {
	rec.generation, rec.place = outer.generation, outer.place
	for _, i := range keys.inherited {
		if i < len(outer.values) && outer.values[i] != nil && (i >= len(rec.values) || rec.values[i] == nil) {
			rec.set(i, outer.values[i])
		}
	}
}

func (rec *record) set(index int, v any) {
	if rec.values == nil {
		rec.values = rec.array[:0]
	}
	for len(rec.values) <= index {
		rec.values = append(rec.values, nil)
	}
	rec.values[index] = v
}

// frame is a context with a record, for a request whose server made no room.
type frame struct {
	context.Context
	rec record
}

func (f *frame) Value(key any) any {
	if _, ok := key.(recordKey); ok {
		return &f.rec
	}
	return f.Context.Value(key)
}
