package resource

import (
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

// Place is the path of a folder among the URLs of a finder, such as /docs/, at which a hook has something.
type Place string

// Valid reports whether it is the path of a folder below the finder's root.
func (p Place) Valid() bool {
	inner := strings.TrimSuffix(strings.TrimPrefix(string(p), "/"), "/")
	return len(p) == len(inner)+2 && fs.ValidPath(inner) && inner != "." && !strings.Contains(inner, `\`)
}

// Find begins the answer of a hook whose place is valid, and that is asked for path. Below says that path is the place or below it: then the
// hook completes the Answer with a Tree. Otherwise the Answer is complete: a redirect to the
// place for its path without the slash, or nothing.
func (p Place) Find(path string) (a Answer, below bool) {
	prefix := string(p[1:])
	rest, below := strings.CutPrefix(path, prefix)
	switch {
	case below:
		a = Answer{Path: rest, ScriptName: string(p[:len(p)-1])}
	case len(path) == len(prefix)-1 && path == prefix[:len(path)]:
		a = Answer{Handler: http.HandlerFunc(AddSlash)}
	}
	return a, below
}

// AddSlash redirects to the URL of the request with a slash at its end, for good. The redirect is relative, so that it
// holds wherever the finder is mounted, and leads to no other host.
func AddSlash(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	to := url.URL{Path: "./" + name + "/", RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusPermanentRedirect)
}
