package stackfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
)

// Rehearsal says how a stack is built that nobody shall be served with.
type Rehearsal struct {
	// Stubs answer in the place of components, by where these stand: a slot such as "proxy", or what a slot refers
	// to, such as "finder.factories[.php]".
	Stubs map[string]http.Handler
	// Entered is called when a request comes to a slot. The slots of a stack that is mounted have its place before
	// their names, such as "blog.stack/errors".
	Entered func(r *http.Request, slot string)
}

// Rehearse is Build for a stack without servers, some of whose components are stubs.
func (p *Plan) Rehearse(ctx context.Context, log *slog.Logger, how Rehearsal) (*Stack, error) {
	how.Stubs = maps.Clone(how.Stubs)
	var ps problems
	for place := range how.Stubs {
		known := false
		p.instances(func(i *planned) {
			known = known || i.full() == place
			if _, err := stub(i.def.Kind, nil); err != nil && i.full() == place {
				ps.add(i.at, []string{place}, "it is %s; %s", aKind(i.def.Kind), err)
			}
		})
		if !known {
			return nil, fmt.Errorf("the stub %q stands for nothing in the stack; there is %s", place, oneOf(p.places(place)))
		}
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	return p.assemble(ctx, log, nil, &how)
}

// places returns where components stand, as stubs may name them: the slots, and what is in that of place.
func (p *Plan) places(place string) []string {
	slot, _, within := strings.Cut(place, ".")
	var all []string
	p.instances(func(i *planned) {
		if _, err := stub(i.def.Kind, nil); err == nil && !slices.Contains(p.watched, i) && (!i.inner() || within && strings.HasPrefix(i.path, slot+".")) && i.within == "" {
			all = append(all, i.full())
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// stub returns what a component of that kind is whose place h takes.
func stub(kind registry.Kind, h http.Handler) (any, error) {
	switch kind {
	case registry.KindApp:
		return h, nil
	case registry.KindMiddleware:
		return registry.Wrap(func(http.Handler) http.Handler { return h }), nil
	case registry.KindFactory:
		return stubFactory{h}, nil
	}
	return nil, errors.New("a stub must stand for an app, a middleware or a factory")
}

// stubFactory makes an app of every file, which is a stub.
type stubFactory struct{ http.Handler }

func (s stubFactory) Make(*resource.File) (resource.App, error) {
	return resource.App{Handler: s.Handler, PathInfo: true}, nil
}

// stand puts the stub for p in its place, if there is one, and reports whether p isn't to be built: since there is, or
// since it belongs to something that a stub stands for.
func (b *builder) stand(p *planned) bool {
	if b.rehearsal == nil {
		return false
	}
	place := p.full()
	for stubbed := range b.rehearsal.Stubs {
		if strings.HasPrefix(place, stubbed+".") {
			return true
		}
	}
	h := b.rehearsal.Stubs[place]
	if h == nil {
		return false
	}
	product, err := stub(p.def.Kind, h)
	if err != nil {
		panic("stackfile: " + err.Error()) // it was looked at before
	}
	b.stack.depot.made++
	b.built[p] = &instance{identity: p.identity(), place: place, built: &registry.Instance{Product: product}, number: b.stack.depot.made}
	return true
}

// entering tells of a request that it comes to a slot.
type entering struct {
	slot string
	tell func(*http.Request, string)
	next http.Handler
}

func (e entering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.tell(r, e.slot)
	e.next.ServeHTTP(w, r)
}
