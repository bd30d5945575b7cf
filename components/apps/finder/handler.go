package finder

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
)

// finder is the app.
type finder struct {
	names      *names
	hooks      []resource.Hook
	log        *slog.Logger
	root       string
	revalidate time.Duration
	capacity   int
	began      time.Time

	// site is what is in root.
	site atomic.Pointer[tree]

	// others are the trees that hooks named.
	mu     sync.Mutex
	others map[fs.FS]*tree
}

// maxOthers is how many trees of hooks are remembered.
const maxOthers = 256

// found is a URL that leads to a file without path info.
type found struct {
	app     *app
	match   resource.Match
	checked atomic.Int64 // when the disk was asked, by the finder's clock
}

func (f *finder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.hooks != nil {
		if f.ask(w, r) {
			return
		}
	} else if hit := f.remembered(r); hit != nil {
		hit.app.serve(w, r, &hit.match)
		return
	}
	if status, reason := refusal(r.URL); status != 0 {
		http.Error(w, reason, status)
		return
	}
	t := f.current()
	if a, match := f.script(t, r.URL.Path); a != nil {
		a.serve(w, r, match)
		return
	}
	f.serve(w, r, t, r.URL.Path[1:], "")
}

// now is the time on the finder's own clock, which is cheaper to read than time.Now.
func (f *finder) now() int64 { return int64(time.Since(f.began)) }

// remembered returns what the URL was found to be, if that is young enough to be trusted. Of the
// requests that come when it isn't any more, one looks at the disk anew: it gets nil, and the
// others what is remembered.
func (f *finder) remembered(r *http.Request) *found {
	hit := f.site.Load().urls.get(r.URL.Path)
	if hit == nil || encodedSlash(r.URL) || !f.trusts(&hit.checked) {
		return nil
	}
	return hit
}

// trusts reports whether what was checked then still holds, or is being checked by somebody else. If
// not, it is now the caller's to check.
func (f *finder) trusts(checked *atomic.Int64) bool {
	if f.revalidate == 0 {
		return false
	}
	now, then := f.now(), checked.Load()
	return now-then < int64(f.revalidate) || !checked.CompareAndSwap(then, now)
}

// ask asks the hooks, and reports whether one of them had an answer.
func (f *finder) ask(w http.ResponseWriter, r *http.Request) bool {
	if status, reason := refusal(r.URL); status != 0 {
		http.Error(w, reason, status)
		return true
	}
	for _, hook := range f.hooks {
		answer, err := hook.Find(r, r.URL.Path[1:])
		switch {
		case err != nil:
			failure.Report(r, err)
			return true
		case answer.Handler != nil:
			answer.Handler.ServeHTTP(w, r)
			return true
		case answer.Tree != nil:
			f.serve(w, r, f.other(answer), strings.TrimPrefix(answer.Path, "/"), strings.TrimSuffix(answer.ScriptName, "/"))
			return true
		}
	}
	if hit := f.remembered(r); hit != nil {
		hit.app.serve(w, r, &hit.match)
		return true
	}
	return false
}

// script returns the app of a file that is remembered and behind which the path goes on.
func (f *finder) script(t *tree, path string) (*app, *resource.Match) {
	if !t.pathInfo {
		return nil, nil
	}
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		hit := t.urls.get(path[:i])
		if hit == nil {
			continue
		}
		if hit.app.PathInfo && f.now()-hit.checked.Load() < int64(f.revalidate) {
			return hit.app, &resource.Match{File: hit.app.file, ScriptName: path[:i], PathInfo: path[i:]}
		}
		break
	}
	return nil, nil
}

// serve answers with what path leads to in t. Prefix is the part of the URL in front of path.
func (f *finder) serve(w http.ResponseWriter, r *http.Request, t *tree, path, prefix string) {
	at := f.now()
	place, err := t.find(path)
	if place.folder && strings.HasSuffix(r.URL.Path, "/") {
		path += "/" // which a hook left out
		place, err = t.find(path)
	}
	var a *app
	if err == nil && !place.folder {
		a, err = t.app(r.Context(), place.name, place.info)
	}
	whole := a != nil && err == nil && place.split == len(path)
	if !whole && t.urls != nil {
		t.urls.drop(r.URL.Path) // it may have led to a file before
	}
	switch {
	case err != nil:
		f.fail(w, r, t, err)
		return
	case place.folder:
		resource.AddSlash(w, r)
		return
	}
	hit := &found{app: a, match: resource.Match{File: a.file, ScriptName: prefix + "/" + path[:place.split]}}
	hit.checked.Store(at)
	if t.urls != nil {
		t.urls.put(hit.match.ScriptName, hit)
	}
	switch {
	case whole:
		a.serve(w, r, &hit.match)
	case a.PathInfo:
		a.serve(w, r, &resource.Match{File: a.file, ScriptName: hit.match.ScriptName, PathInfo: path[place.split:]})
	default:
		http.NotFound(w, r)
	}
}

// fail answers a request for which there is no app. What isn't there, and what visitors don't see, look
// the same to them.
func (f *finder) fail(w http.ResponseWriter, r *http.Request, t *tree, err error) {
	var broken *brokenError
	switch {
	case errors.As(err, &broken):
		failure.Report(r, broken.reason)
	case missing(err):
		http.NotFound(w, r)
	case t.refused(err):
		f.log.Warn("a file can't be served", "error", err)
		http.NotFound(w, r)
	default:
		failure.Report(r, err)
	}
}

// serve answers a request with the app, if it understands the method.
func (a *app) serve(w http.ResponseWriter, r *http.Request, match *resource.Match) {
	switch {
	case a.get && (r.Method == http.MethodGet || r.Method == http.MethodHead),
		len(a.Methods) == 0,
		slices.Contains(a.Methods, r.Method):
		resource.Key.Set(r, match)
		a.Handler.ServeHTTP(w, r)
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", a.allow)
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", a.allow)
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
	}
}

// allowed says whether methods include GET, and lists them as Allow has them.
func allowed(methods []string) (get bool, allow string) {
	get = slices.Contains(methods, http.MethodGet)
	list := slices.Clone(methods)
	if get && !slices.Contains(list, http.MethodHead) {
		list = append(list, http.MethodHead)
	}
	if !slices.Contains(list, http.MethodOptions) {
		list = append(list, http.MethodOptions)
	}
	return get, strings.Join(list, ", ")
}

// openSite opens the root as it is now.
func (f *finder) openSite() (*tree, error) {
	disk, err := os.OpenRoot(f.root)
	if err != nil {
		return nil, err
	}
	t := newTree(f.names, disk.FS(), f.root, f.capacity)
	t.urls, t.disk = newCache[*found](f.capacity), disk
	if t.info, err = disk.Stat("."); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	_, outside := disk.Stat("..")
	t.outside = errors.Unwrap(outside)
	t.checked.Store(f.now())
	return t, nil
}

// current returns the site, and opens it anew when root has become another folder. The old one is closed
// when the last request and the last app have forgotten it, by [os.Root]'s finalizer.
func (f *finder) current() *tree {
	t := f.site.Load()
	if f.trusts(&t.checked) {
		return t
	}
	info, err := os.Stat(f.root)
	if err != nil || os.SameFile(info, t.info) {
		return t
	}
	next, err := f.openSite()
	if err != nil {
		f.log.Warn("the root was exchanged and can't be opened", "error", err)
		return t
	}
	if !f.site.CompareAndSwap(t, next) {
		if err := next.disk.Close(); err != nil {
			f.log.Warn("a root can't be closed", "error", err)
		}
	}
	return f.site.Load()
}

// other returns the tree that a hook named, with the apps that were made of its files.
func (f *finder) other(answer resource.Answer) *tree {
	if !reflect.ValueOf(answer.Tree).Comparable() {
		t := newTree(f.names, answer.Tree, answer.Root, 0)
		t.outside = f.site.Load().outside
		return t
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.others[answer.Tree]; t != nil {
		return t
	}
	// What was exchanged for this one goes, and whichever there is too much.
	maps.DeleteFunc(f.others, func(_ fs.FS, t *tree) bool {
		exchanged := answer.Root != "" && t.root == answer.Root && t.prefix == answer.ScriptName
		return exchanged || len(f.others) >= maxOthers
	})
	t := newTree(f.names, answer.Tree, answer.Root, f.capacity)
	t.outside, t.prefix = f.site.Load().outside, answer.ScriptName
	if f.others == nil {
		f.others = make(map[fs.FS]*tree)
	}
	f.others[answer.Tree] = t
	return t
}
