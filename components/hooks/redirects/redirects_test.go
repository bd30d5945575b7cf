package redirects

import (
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

// file makes a list.
func file(t *testing.T, lines ...string) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redirects.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Component.Default
	cfg.File = registry.Path(path)
	return cfg
}

func TestComponent(t *testing.T) {
	settings := func(t *testing.T) Config { return file(t, "/old /new", "/blog/* https://blog.example.org/*") }
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "exact", Settings: settings, Path: "old"},
		registrytest.Case[Config]{Name: "below", Settings: settings, Path: "blog/2026/post"},
	)
}

func TestFind(t *testing.T) {
	h := registrytest.Build(t, Component, file(t,
		"# a comment",
		"",
		"  /about.html \t/about  ",
		"/index.html /",
		"/a%20b /c%20d",
		"/ä /ö",
		"/sale /offers?from=sale#top 302",
		"/frag /page#part",
		"/blog/* https://blog.example.org/*",
		"/blog/2026/* /archive/*",
		"/blog/2026/special /special 307",
		"/gone/* /",
		"/folder/ /other/",
	), nil)
	tests := []struct {
		name, path, query string
		status            int
		want              string // "" for nothing
	}{
		{"exact", "about.html", "", 301, "/about"},
		{"with a query", "about.html", "a=b", 301, "/about?a=b"},
		{"to the root", "index.html", "", 301, "/"},
		{"escaped", "a b", "", 301, "/c%20d"},
		{"other letters", "ä", "", 301, "/%C3%B6"},
		{"a query of its own", "sale", "a=b", 302, "/offers?from=sale#top"},
		{"a query before the fragment", "frag", "a=b", 301, "/page?a=b#part"},
		{"below", "blog/post", "", 301, "https://blog.example.org/post"},
		{"below, the folder itself", "blog/", "", 301, "https://blog.example.org/"},
		{"below, deep, with what must be escaped", "blog/a/b c?/", "x", 301, "https://blog.example.org/a/b%20c%3F/?x"},
		{"the longer one below", "blog/2026/x/y", "", 301, "/archive/x/y"},
		{"an exact one before", "blog/2026/special", "", 307, "/special"},
		{"below, all to one", "gone/x/y", "", 301, "/"},
		{"a folder", "folder/", "", 301, "/other/"},
		{"not below without the slash", "blog", "", 0, ""},
		{"not the folder without the slash", "folder", "", 0, ""},
		{"not what begins alike", "about.html5", "", 0, ""},
		{"not in other letters", "About.html", "", 0, ""},
		{"not the root", "", "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := url.URL{Path: "/" + tt.path, RawQuery: tt.query}
			r := httptest.NewRequestWithContext(t.Context(), "GET", u.String(), nil)
			a, err := h.Find(r, tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if a.Handler == nil {
				if tt.want != "" {
					t.Errorf("got nothing; want %q", tt.want)
				}
				return
			}
			w := httptest.NewRecorder()
			a.Handler.ServeHTTP(w, r)
			if got := w.Header().Get("Location"); w.Code != tt.status || got != tt.want {
				t.Errorf("%d to %q; want %d to %q", w.Code, got, tt.status, tt.want)
			}
		})
	}
}

func TestEverything(t *testing.T) {
	h := registrytest.Build(t, Component, file(t, "/* https://new.example.org/*"), nil)
	for path, want := range map[string]string{"": "https://new.example.org/", "a": "https://new.example.org/a", "a/b/": "https://new.example.org/a/b/"} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/"+path, nil)
		a, err := h.Find(r, path)
		if err != nil || a.Handler == nil {
			t.Fatalf("%q: got %+v, %v", path, a, err)
		}
		w := httptest.NewRecorder()
		a.Handler.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%q leads to %q; want %q", path, got, want)
		}
	}
}

// TestFaults proves that every line that is wrong is named.
func TestFaults(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup(registry.KindHook, "redirects")
	cfg := file(t,
		"/fine /new",
		"/alone",
		"/a /b 301 /c",
		"/a /b 200",
		"old /new",
		"/a/../b /new",
		"/a* /new",
		"/a //evil.org/",
		"/a javascript:x",
		"/a /b/*",
		"/a/* /b*",
		"/a/* /b?c*",
		"/fine /other",
		"/self /self",
	)
	i, err := d.Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		i.Close()
		t.Fatal("it is built")
	}
	want := []string{
		"2: it has 1 words; it must have an old path, a new one, and perhaps a status",
		"3: it has 4 words; it must have an old path, a new one, and perhaps a status",
		`4: the status is "200"; it must be 301, 302, 303, 307 or 308`,
		`5: the old path is "old"; it must be clean and begin with a slash, such as /old or /old/*`,
		`6: the old path is "/a/../b"; it must be clean and begin with a slash, such as /old or /old/*`,
		`7: the old path is "/a*"; it must be clean and begin with a slash, such as /old or /old/*`,
		`8: the new URL is "//evil.org/"; it must begin with http://, https:// or one slash`,
		`9: the new URL is "javascript:x"; it must begin with http://, https:// or one slash`,
		`10: the new URL "/b/*" ends in a star, and the old path "/a" doesn't; it must, too`,
		`11: the new URL is "/b*"; it must have a slash before the star`,
		`12: the new URL is "/b?c*"; it must have no star behind a query or fragment`,
		`13: "/fine" is in line 1 already; it must be there once`,
		`14: "/self" leads to itself`,
	}
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		got = append(got, strings.TrimPrefix(line, string(cfg.File)+":"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// TestChange proves that a change of the file is noticed.
func TestChange(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	cfg := file(t, "/a /b")
	i, err := r.Lookup(registry.KindHook, "redirects").Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if diff := cmp.Diff([]string{string(cfg.File)}, i.Depends()); diff != "" {
		t.Errorf("it depends on (-want +got):\n%s", diff)
	}
}

func TestSettings(t *testing.T) {
	got := registrytest.Problems(t, Component, Config{Status: 200})
	want := []string{"file is missing; it must be a path", "status is 200; it must be 301, 302, 303, 307 or 308"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// FuzzRead proves that no list makes a redirect which leaves the site for a host that it doesn't name.
func FuzzRead(f *testing.F) {
	f.Add("/a/* /b/*", "a/x")
	f.Add("/x/* /*", "x//evil.org")
	f.Add("/a /b?c#d 302", "a")
	f.Fuzz(func(t *testing.T, lines, path string) {
		l, err := read(strings.NewReader(lines), "list", 301)
		if err != nil {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		a, err := l.Find(r, path)
		if err != nil || a.Handler == nil {
			return
		}
		w := httptest.NewRecorder()
		a.Handler.ServeHTTP(w, r)
		to := w.Header().Get("Location")
		u, err := url.Parse(to)
		if err != nil || u.Host != "" && !strings.Contains(lines, "http") || strings.HasPrefix(to, "//") {
			t.Errorf("%q with %q leads to %q, %v", lines, path, to, err)
		}
	})
}
