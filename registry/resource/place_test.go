package resource_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stackd/stackd/registry/resource"
)

func TestValid(t *testing.T) {
	for place, want := range map[resource.Place]bool{
		"/docs/": true, "/docs/v1.2/": true, "/a b/ü/": true, "/.well-known/": true,
		"": false, "/": false, "//": false, "docs/": false, "/docs": false, "docs": false, "/docs//": false, "//docs/": false, "/a//b/": false,
		"/./": false, "/../": false, "/a/../b/": false, `/a\b/`: false, "/\xff/": false,
	} {
		if got := place.Valid(); got != want {
			t.Errorf("%q is valid: %v, want %v", place, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, test := range []struct {
		path                string
		below               bool
		rest, script, moved string
	}{
		{"manual/v1/", true, "", "/manual/v1", ""},
		{"manual/v1/a/b.html", true, "a/b.html", "/manual/v1", ""},
		{"manual/v1", false, "", "", "./v1/?q"},
		{"manual/v10", false, "", "", ""},
		{"manual/v", false, "", "", ""},
		{"manual/", false, "", "", ""},
		{"Manual/v1/", false, "", "", ""},
		{"a/manual/v1/", false, "", "", ""},
		{"", false, "", "", ""},
	} {
		t.Run(test.path, func(t *testing.T) {
			a, below := resource.Place("/manual/v1/").Find(test.path)
			if below != test.below || a.Path != test.rest || a.ScriptName != test.script || a.Tree != nil {
				t.Errorf("Find: %+v, %v", a, below)
			}
			moved := ""
			if a.Handler != nil {
				w := httptest.NewRecorder()
				a.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+test.path+"?q", nil))
				if moved = w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect {
					t.Errorf("the status is %d", w.Code)
				}
			}
			if moved != test.moved {
				t.Errorf("it is redirected to %q, want %q", moved, test.moved)
			}
		})
	}
}
