package finder

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
)

// teller is a factory whose apps tell which file it is. They take no path info.
type teller string

func (f teller) Make(file *resource.File) (resource.App, error) {
	return resource.App{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %s", string(f), file.Name)
	})}, nil
}

// TestFindAgrees holds what Find tells against what the finder answers, for each file of the site as it is called and
// in other ways.
func TestFindAgrees(t *testing.T) {
	root := siteFolder(t)
	whole := settings(t, root)
	whole.Factories = map[string]registry.Ref[resource.Factory]{
		"*": registry.Bound[resource.Factory](teller("static")), ".run": registry.Bound[resource.Factory](runner("cgi")),
	}
	h := serve(t, whole)
	told := whole
	told.Factories = map[string]registry.Ref[resource.Factory]{
		"*": registry.Use[resource.Factory]("static"), ".run": registry.Use[resource.Factory]("cgi"),
	}
	paths := []string{"/", "/nothing", "/tool", "/tool/a/b", "/about", "/about/x", "/same", "/docs", "/app", "/app/more", "//", "/a\\b", "/../x", "/a\x00b"}
	for _, name := range slices.Sorted(maps.Keys(site)) {
		paths = append(paths, "/"+name, "/"+name+"/", "/"+name+"/x", "/"+strings.TrimSuffix(name, filepath.Ext(name)))
	}
	files := 0
	for _, path := range paths {
		w := get(t, h, (&url.URL{Path: path}).EscapedPath())
		found := told.Find(path)
		answer, _, _ := strings.Cut(w.Body.String(), ": ")
		switch {
		case w.Code == http.StatusOK:
			files++
			rel, err := filepath.Rel(root, found.File)
			if err != nil || answer != found.Factory+" "+filepath.ToSlash(rel) {
				t.Errorf("%s is answered with %q; it is said to be %+v", path, answer, *found)
			}
		case found.File != "" && found.PathInfo != "" && found.Factory == "static" && w.Code == http.StatusNotFound:
			// It said that it depends on the app.
		case found.File != "" || found.Note == "":
			t.Errorf("%s is answered with %d; it is said to be %+v", path, w.Code, *found)
		case w.Code == http.StatusPermanentRedirect && !strings.Contains(found.Note, "redirected"):
			t.Errorf("%s is redirected; the note is %q", path, found.Note)
		case w.Code == http.StatusNotFound && !strings.Contains(found.Note, "404"):
			t.Errorf("%s is not found; the note is %q", path, found.Note)
		}
	}
	if files < 20 {
		t.Errorf("%d paths led to a file; the test must see more", files)
	}
}

func TestFindNotes(t *testing.T) {
	cfg := Component.Default
	cfg.Root = registry.Path(filepath.Join(t.TempDir(), "site"))
	note := func(want string) {
		t.Helper()
		if got := cfg.Find("/a.html").Note; got != want {
			t.Errorf("the note is %q; want %q", got, want)
		}
	}
	note("the root can't be looked at: no such file or directory")
	if err := os.MkdirAll(string(cfg.Root), 0o755); err != nil {
		t.Fatal(err)
	}
	note("there is no file for it: 404")
	change(t, filepath.Join(string(cfg.Root), "a.html"), "a", changed)
	note("")
	cfg.Hooks = []registry.Ref[resource.Hook]{registry.Use[resource.Hook]("alias")}
	note("the hook alias is asked before, and may know better")
	cfg.Factories = nil
	note("the hook alias is asked before, and may know better; no factory is for such files: 404")
}
