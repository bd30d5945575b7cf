package environ

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// The keys of these tests.
var (
	textKey   = NewKey[string]("test text")
	numberKey = NewKey[int]("test number")
	anyKey    = NewKey[any]("test any")

	inheritedKey = NewInherited[string]("test inherited")
	presetKey    = NewInherited[string]("test inherited and preset")
)

// roomy is the context of a server that makes room.
type roomy struct {
	context.Context
	room Room
}

func (c *roomy) Value(key any) any {
	if v := c.room.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

type outsideKey struct{}

// servers are the two kinds of requests that a stack may get.
var servers = map[string]func(testing.TB) *http.Request{
	"no room": func(testing.TB) *http.Request {
		return httptest.NewRequestWithContext(context.WithValue(context.Background(), outsideKey{}, "kept"), http.MethodGet, "/", http.NoBody)
	},
	"room": func(testing.TB) *http.Request {
		ctx := &roomy{Context: context.WithValue(context.Background(), outsideKey{}, "kept")}
		return httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	},
}

func TestEnviron(t *testing.T) {
	for name, newRequest := range servers {
		t.Run(name, func(t *testing.T) {
			var base Base
			textKey.Preset(&base, "preset")
			before := newRequest(t)
			if v, ok := textKey.Lookup(before); ok {
				t.Errorf("before it is opened there is %q", v)
			}
			r := base.Open(before)
			if v := textKey.Get(r); v != "preset" {
				t.Errorf("a new environ has %q; want what the base has", v)
			}
			if v, ok := numberKey.Lookup(r); ok || v != 0 {
				t.Errorf("a key that wasn't set has %d, %t", v, ok)
			}
			inner := r.WithContext(context.WithValue(r.Context(), t, t)).Clone(r.Context())
			numberKey.Set(inner, 7)
			textKey.Set(inner, "set")
			if text, number := textKey.Get(r), numberKey.Get(r); text != "set" || number != 7 {
				t.Errorf("what a copy set is seen as %q, %d", text, number)
			}
			if v := r.Context().Value(outsideKey{}); v != "kept" {
				t.Errorf("a value of the server's context is %v", v)
			}
			if v := textKey.Get(base.Open(newRequest(t))); v != "preset" {
				t.Errorf("another request has %q; want what the base has", v)
			}
		})
	}
}

func TestMounted(t *testing.T) {
	for name, newRequest := range servers {
		t.Run(name, func(t *testing.T) {
			var outerBase, innerBase Base
			textKey.Preset(&innerBase, "inner")
			outer := outerBase.Open(newRequest(t))
			textKey.Set(outer, "outer")
			numberKey.Set(outer, 1)
			inheritedKey.Set(outer, "outer")
			presetKey.Set(outer, "outer")
			presetKey.Preset(&innerBase, "inner")
			inner := innerBase.Open(outer)
			if inherited, preset := inheritedKey.Get(inner), presetKey.Get(inner); inherited != "outer" || preset != "inner" {
				t.Errorf("of what the outer stack has the inner one inherits %q, and %q for what it has itself", inherited, preset)
			}
			inheritedKey.Set(inner, "inner")
			if v := inheritedKey.Get(outer); v != "outer" {
				t.Errorf("the outer stack has %q after the inner one", v)
			}
			if v, ok := numberKey.Lookup(inner); ok {
				t.Errorf("the inner stack sees the outer one's %d", v)
			}
			numberKey.Set(inner, 2)
			if text, number := textKey.Get(outer), numberKey.Get(outer); text != "outer" || number != 1 {
				t.Errorf("the outer stack has %q, %d after the inner one", text, number)
			}
			if text, number := textKey.Get(inner), numberKey.Get(inner); text != "inner" || number != 2 {
				t.Errorf("the inner stack has %q, %d", text, number)
			}
		})
	}
}

func TestGeneration(t *testing.T) {
	if got := Generation(servers["no room"](t)); got != 0 {
		t.Errorf("a request of no generation has %d", got)
	}
	ctx := &roomy{Context: t.Context()}
	ctx.room.SetGeneration(7)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
	var base Base
	for _, stack := range []string{"none", "outer", "inner", "innermost"} {
		if got := Generation(r); got != 7 {
			t.Errorf("stack %s is of generation %d, want 7", stack, got)
		}
		r = base.Open(r)
	}
}

func TestSetWithoutEnviron(t *testing.T) {
	for name, newRequest := range servers {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "test text") || !strings.Contains(text, "Base.Open") {
					t.Errorf("it panicked with %q; want the key, and what to do", text)
				}
			}()
			textKey.Set(newRequest(t), "x")
		})
	}
}

func TestNewKeyPanics(t *testing.T) {
	for name, key := range map[string]string{"no name": "", "taken": "vars"} {
		t.Run(name, func(t *testing.T) {
			declared := slices.Clone(keys.names)
			defer func() {
				if recover() == nil {
					t.Error("it didn't panic")
				}
				if !slices.Equal(keys.names, declared) {
					t.Error("it declared the key")
				}
			}()
			NewKey[int](key)
		})
	}
}

// TestAllocations holds the package to what it says that things cost.
func TestAllocations(t *testing.T) {
	var base Base
	textKey.Preset(&base, "preset")
	count := func(name string, want float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(100, f); got != want {
			t.Errorf("%s allocates %v times; want %v", name, got, want)
		}
	}
	plain := servers["no room"](t)
	var opened *http.Request
	count("opening", 2, func() { opened = base.Open(plain) })
	count("opening in a room, the room and the request's copy included", 2, func() {
		opened = base.Open(plain.WithContext(&roomy{Context: plain.Context()}))
	})
	if textKey.Get(opened) != "preset" {
		t.Error("it wasn't opened")
	}
	r := base.Open(plain)
	var value any = "shared"
	anyKey.Set(r, value)
	count("getting", 0, func() { textKey.Get(r) })
	count("setting", 0, func() { anyKey.Set(r, value) })
}

func BenchmarkOpen(b *testing.B) {
	var base Base
	Vars.Preset(&base, map[string]any{})
	plain := servers["no room"](b)
	b.Run("no room", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			base.Open(plain)
		}
	})
	b.Run("room", func(b *testing.B) { // with the copy that the server makes
		var opened *http.Request
		b.ReportAllocs()
		for b.Loop() {
			opened = base.Open(plain.WithContext(&roomy{Context: plain.Context()}))
		}
		_ = Vars.Get(opened)
	})
}

func BenchmarkGet(b *testing.B) {
	var base Base
	textKey.Preset(&base, "preset")
	r := base.Open(servers["no room"](b))
	b.ReportAllocs()
	for b.Loop() {
		textKey.Get(r)
	}
}

// TestMount proves that what a server has taken off the path is the prefix of the stack, and of one that is mounted in it.
func TestMount(t *testing.T) {
	var base Base
	textKey.Preset(&base, "preset")
	for _, prefix := range []string{"", "/cgi-bin/site.cgi"} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if prefix != "" {
			r = Below(r, prefix)
		}
		ctx := &roomy{Context: r.Context()}
		ctx.room.Mount(r)
		r = base.Open(r.WithContext(ctx))
		if got := Prefix.Get(r); got != prefix || textKey.Get(r) != "preset" {
			t.Errorf("the prefix is %q, want %q; another key has %q", got, prefix, textKey.Get(r))
		}
		if got := Prefix.Get(new(Base).Open(r)); got != prefix {
			t.Errorf("within, the prefix is %q, want %q", got, prefix)
		}
	}
}
