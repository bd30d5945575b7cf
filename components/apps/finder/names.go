package finder

import (
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/resource"
)

// names knows what the name of a file tells: whether visitors may see it, its MIME
// type, its factory.
type names struct {
	index      []string
	extensions []string
	pathInfo   bool
	hide, show []string // in lower case
	types      map[string]string
	byExt      map[string]resource.Factory
	byType     map[string]resource.Factory // text/html and text/*
	scripts    resource.Factory            // for "#!", may be nil
	fallback   resource.Factory            // for "*", may be nil
}

func newNames(cfg Config) *names {
	n := &names{
		index:    cfg.Index,
		pathInfo: cfg.PathInfo,
		hide:     lower(cfg.Hide),
		show:     lower(cfg.Show),
		types:    make(map[string]string),
		byExt:    make(map[string]resource.Factory),
		byType:   make(map[string]resource.Factory),
	}
	for ext, t := range cfg.Types {
		n.types[strings.ToLower(ext)] = t
	}
	for key, ref := range cfg.Factories {
		if ref.IsZero() {
			continue
		}
		switch kindOfKey(key) {
		case extensionKey:
			n.byExt[strings.ToLower(key)] = ref.Get()
		case typeKey:
			n.byType[strings.ToLower(key)] = ref.Get()
		case scriptKey:
			n.scripts = ref.Get()
		case anyKey:
			n.fallback = ref.Get()
		}
	}
	n.extensions = slices.Clone(cfg.Extensions)
	for _, ext := range slices.Sorted(maps.Keys(n.byExt)) {
		if n.own(ext) && !slices.Contains(n.extensions, ext) {
			n.extensions = append(n.extensions, ext)
		}
	}
	return n
}

func lower(patterns []string) []string {
	var l []string
	for _, p := range patterns {
		l = append(l, strings.ToLower(p))
	}
	return l
}

// The keys of factories.
const (
	badKey = iota
	extensionKey
	typeKey
	scriptKey
	anyKey
)

func kindOfKey(key string) int {
	switch major, minor, slash := strings.Cut(key, "/"); {
	case key == "*":
		return anyKey
	case key == "#!":
		return scriptKey
	case isExtension(key):
		return extensionKey
	case slash && major != "" && minor != "" && major != "*" && !strings.ContainsAny(key, " ;"):
		return typeKey
	}
	return badKey
}

// isExtension reports whether s is what path.Ext finds in a name.
func isExtension(s string) bool {
	return len(s) > 1 && s[0] == '.' && !strings.ContainsAny(s[1:], "./\\ ")
}

// hidden reports whether visitors don't see the name of a file in the tree: a name of its path is
// hidden, or it is the copy of a source.
func (n *names) hidden(name string) bool {
	return n.hides(name) || n.copies(path.Base(name))
}

// hides reports whether one of the names in a path is hidden.
func (n *names) hides(name string) bool {
	for segment := range strings.SplitSeq(strings.ToLower(name), "/") {
		if segment != "." && matches(n.hide, segment) && !matches(n.show, segment) {
			return true
		}
	}
	return false
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok
	})
}

// copies reports whether a file would show the source of another one: its name goes on
// behind an extension that the fallback doesn't handle, and doesn't end with one.
func (n *names) copies(base string) bool {
	base = strings.ToLower(base)
	if n.own(path.Ext(base)) || matches(n.show, base) {
		return false
	}
	for start, c := range base {
		if c != '.' {
			continue
		}
		// An extension may have any characters, so that each end of a word may be its end.
		for end := start + 1; end <= len(base); end++ {
			if (end == len(base) || !wordly(base[end])) && n.own(base[start:end]) {
				return true
			}
			if end < len(base) && base[end] == '.' {
				break
			}
		}
	}
	return false
}

// wordly reports whether c is a letter or a digit, in lower case.
func wordly(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// own reports whether files with that extension are for another kind of factory than
// those without any.
func (n *names) own(ext string) bool {
	f := n.factory(ext, false)
	return f != nil && sort(f) != sort(n.fallback)
}

// sort is what two factories of the same component have in common.
func sort(f resource.Factory) any {
	if stand, ok := f.(named); ok {
		return stand
	}
	return reflect.TypeOf(f)
}

// factory returns the factory of files with that extension, in lower case, or nil.
func (n *names) factory(ext string, script bool) resource.Factory {
	if f := n.byExt[ext]; f != nil {
		return f
	}
	if script && n.scripts != nil {
		return n.scripts
	}
	if len(n.byType) > 0 {
		t, _, _ := strings.Cut(n.typeOf(ext), ";")
		t = strings.ToLower(strings.TrimSpace(t))
		if f := n.byType[t]; f != nil {
			return f
		}
		major, _, _ := strings.Cut(t, "/")
		if f := n.byType[major+"/*"]; f != nil {
			return f
		}
	}
	return n.fallback
}

// typeOf returns the MIME type of files with that extension, in lower case.
func (n *names) typeOf(ext string) string {
	if t, ok := n.types[ext]; ok {
		return t
	}
	if t, ok := types[ext]; ok {
		return t
	}
	return "application/octet-stream"
}

// cascades reports whether a name that isn't there is tried with further extensions.
func (n *names) cascades(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	if ext == "" || ext == "." {
		return true
	}
	_, builtin := types[ext]
	_, added := n.types[ext]
	return !builtin && !added && n.byExt[ext] == nil && !slices.Contains(n.extensions, ext)
}
