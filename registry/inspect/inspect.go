// Package inspect is the contract between a stack, which knows how it was put together, and what
// shows that to people: the command explain, and a component such as the app status.
//
// An app finds the running stack under [Key]:
//
//	e, err := inspect.Key.Get(r).Explain("GET", "/admin/")
//
// Everything in this package is made for showing, as text or as JSON: values are written as a stack
// file would write them, and a secret is "[redacted]".
package inspect

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/stackd/stackd/registry/environ"
)

// Key is the stack that answers the request. The stack itself sets it.
var Key = environ.NewKey[Stack]("inspect")

// Stack tells what a stack is. It is safe for concurrent use.
type Stack interface {
	// Components are those compiled into the program, by kind in the order in which a
	// request meets these, then by name.
	Components() []Component
	// Outline is the stack as a whole.
	Outline() Outline
	// Explain tells what a request for a URL meets. The URL may be a path, a host and path, or a
	// whole one; the error says that it isn't any, or that requests for it are refused.
	Explain(method, url string) (Explanation, error)
}

// Component is a component compiled into the program.
type Component struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Purpose says in a few words what it is for; empty when its author didn't.
	Purpose string `json:"purpose,omitempty"`
}

// Outline is a stack as a whole: what stands in the stack file.
type Outline struct {
	// File is the stack file, as it was named when the stack was loaded.
	File string `json:"file"`
	// Servers are those that are on.
	Servers []Server `json:"servers"`
	// Vars are those that no override speaks to, by dotted name.
	Vars []Setting `json:"vars,omitempty"`
	// Slots are the stack's entries, outermost first, where no override speaks to them. Of their settings
	// those are there that somebody wrote.
	Slots []Slot `json:"slots"`
	// Overrides are what stands under urls, general to specific.
	Overrides []Override `json:"overrides"`
}

// Server is a server of a stack.
type Server struct {
	Component string   `json:"component"`
	Addresses []string `json:"addresses"`
	Origin    string   `json:"origin"`
}

// Override is what a stack file says under one pattern.
type Override struct {
	Pattern
	// Within are the patterns of the overrides that apply wherever this one does, general to
	// specific.
	Within []string `json:"within,omitempty"`
	// Slots are those that it speaks to, in the order of the stack.
	Slots []Change `json:"slots,omitempty"`
	// Vars are the vars that it sets, by dotted name.
	Vars []Setting `json:"vars,omitempty"`
}

// Change is what one override says to one slot.
type Change struct {
	Slot string `json:"slot"`
	// Use is the component that it puts there, Switch is "on" or "off"; either may be empty.
	Use    string `json:"use,omitempty"`
	Switch string `json:"switch,omitempty"`
	// Settings are what it sets, as written.
	Settings []Setting `json:"settings,omitempty"`
	Origin   string    `json:"origin"`
}

// Pattern is a key under urls.
type Pattern struct {
	Pattern string `json:"pattern"`
	Origin  string `json:"origin"`
}

// Explanation tells what a request meets.
type Explanation struct {
	Method string `json:"method"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path"`
	// Patterns are those of the overrides that apply, general to specific.
	Patterns []Pattern `json:"patterns"`
	// Vars are the vars for the URL, by dotted name.
	Vars []Setting `json:"vars"`
	// OnReload is what becomes of a request under way when a reload changes any of this.
	OnReload Setting `json:"on_reload"`
	// Slots is the chain, outermost first. Slots that are off are listed too.
	Slots []Slot `json:"slots"`
	// Found is what the app would answer with, where it says so.
	Found *Found `json:"found,omitempty"`
	// Mounted is what the request meets in the stack that the app mounts. Its path is the one that this
	// stack is asked with.
	Mounted *Explanation `json:"mounted,omitempty"`
}

// Slot is one entry of a stack, as it stands for some URLs.
type Slot struct {
	// Name is what overrides call it, Component what stands in it.
	Name      string `json:"name"`
	Component string `json:"component"`
	// Kind is "middleware" or "app".
	Kind string `json:"kind"`
	// On says that requests pass it.
	On bool `json:"on"`
	// Origin is where it was placed, or another component was put there, as "file:line". Switched is
	// where it was switched on or off; empty if it is as it was placed, and on.
	Origin   string `json:"origin"`
	Switched string `json:"switched,omitempty"`
	// Overrode is what else was said of the component or the switch, the last first.
	Overrode []Former `json:"overrode,omitempty"`
	// Settings are the effective settings in the order of the manual.
	Settings []Setting `json:"settings,omitempty"`
}

// Setting is one effective setting, or one of the vars.
type Setting struct {
	// Name is the path to it, such as "cookie.name".
	Name string `json:"name"`
	// Value is how it would be written in a stack file.
	Value string `json:"value"`
	// Origin is the "file:line" that set it, empty for the default.
	Origin string `json:"origin,omitempty"`
	// Overrode are the values that it had before, the last first.
	Overrode []Former `json:"overrode,omitempty"`
}

// Former is a value that something more specific has replaced.
type Former struct {
	Value  string `json:"value"`
	Origin string `json:"origin,omitempty"`
}

// Found is what an app that looks for files has for a URL.
type Found struct {
	// File is the file's path, empty when there is none.
	File string `json:"file,omitempty"`
	// Factory is the component that makes an app of it.
	Factory string `json:"factory,omitempty"`
	// PathInfo is the part of the URL that goes on behind the file, if the factory's app takes it.
	PathInfo string `json:"path_info,omitempty"`
	// Note says in a sentence what else there is to know, such as why there is no file.
	Note string `json:"note,omitempty"`
}

// ParseURL reads what a user would call a URL, such as /admin/, example.org/admin/ or
// https://example.org/admin/?all: its host, which may be empty, and its path, decoded.
func ParseURL(s string) (host, path string, err error) {
	whole := s
	if !strings.HasPrefix(s, "/") && !strings.Contains(s, "://") {
		whole = "//" + s
	}
	u, err := url.Parse(whole)
	if err != nil || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return "", "", fmt.Errorf("%q is not a URL; it must be like /path, host/path or https://host/path", s)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.Host, u.Path, nil
}
