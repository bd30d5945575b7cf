package environ_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stackd/stackd/registry/environ"
)

// many are more keys than a record holds without a second allocation.
var many = func() (keys []environ.Key[int]) {
	for i := range 40 {
		keys = append(keys, environ.NewKey[int](fmt.Sprintf("test %d", i)))
	}
	return keys
}()

func TestManyKeys(t *testing.T) {
	var base environ.Base
	many[30].Preset(&base, -1)
	plain := httptest.NewRequest(http.MethodGet, "/", nil)
	first, second := base.Open(plain), base.Open(plain)
	for i, k := range many {
		if got, set := k.Lookup(first); set != (i == 30) {
			t.Errorf("before it is set %s is %d, %t", k.Name(), got, set)
		}
		k.Set(first, i)
	}
	for i, k := range many {
		if got, set := k.Lookup(first); !set || got != i {
			t.Errorf("%s is %d, %t; want %d", k.Name(), got, set, i)
		}
	}
	for name, r := range map[string]*http.Request{"another request": second, "a later one": base.Open(plain)} {
		if got, set := many[39].Lookup(r); set || many[30].Get(r) != -1 {
			t.Errorf("%s has %d, %t and %d; want only the preset -1", name, got, set, many[30].Get(r))
		}
	}
}

func TestOpenKeepsTheEndOfTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := new(environ.Base).Open(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	if err := r.Context().Err(); err != nil {
		t.Errorf("the context has ended: %v", err)
	}
	cancel()
	<-r.Context().Done()
	if err := r.Context().Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the context ended with %v", err)
	}
}

func ExampleKey() {
	// In a package of its own: what one component hands down to others.
	user := environ.NewKey[string]("example user")

	// A middleware sets it …
	signIn := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user.Set(r, "ada")
			next.ServeHTTP(w, r)
		})
	}
	// … and an app gets it.
	greet := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("hello,", user.Get(r))
	})

	// A stack opens the environ of each request; here there is none.
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
	signIn(greet).ServeHTTP(httptest.NewRecorder(), r)
	// Output: hello, ada
}
