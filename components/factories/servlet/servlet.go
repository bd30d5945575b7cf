// Package servlet puts servlets at the URLs of files.
//
// A servlet is a part of a site that is written in Go and compiled into this program, such as
// poll. An empty file says where it is: with this, site/news/vote.servlet is answered
// by a poll, at the URL /news/vote.
//
//	stack:
//	  - session
//	  - use: finder
//	    root: site
//	    factories:
//	      .html: {use: template}
//	      .servlet:
//	        use: servlet
//	        servlets:
//	          vote: {use: poll, question: "Tea?", file: var/vote.txt}
//
// The name of the file without its extension chooses the servlet. Two files of one name in different folders are
// one servlet at two URLs. What is in the file doesn't matter. A file whose name isn't among the servlets is a failure (500),
// which tells the names that are.
//
// Which methods a servlet understands, and whether its URL may go on behind it, is the servlet's to say.
package servlet

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
)

func init() { registry.Register(Component) }

// Component is the servlet factory.
var Component = registry.Factory[Config]{
	Name:   "servlet",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says which servlets there are.
type Config struct {
	// Servlets are the servlets by the name of their files, without the extension.
	Servlets map[string]registry.Ref[*servlet.Servlet] `yaml:"servlets" validate:"required"`
}

func build(_ *registry.Env, cfg Config) (resource.Factory, error) {
	f := make(factory, len(cfg.Servlets))
	for name, ref := range cfg.Servlets {
		if !ref.IsZero() { // an override took it away
			f[name] = ref.Get()
		}
	}
	return f, nil
}

// factory is the servlets by name.
type factory map[string]*servlet.Servlet

func (f factory) Make(file *resource.File) (resource.App, error) {
	base := path.Base(file.Name)
	name := strings.TrimSuffix(base, path.Ext(base))
	s, ok := f[name]
	if !ok {
		return resource.App{}, fmt.Errorf("%s: there is no servlet %q among servlets, which has %s", file.Name, name, strings.Join(slices.Sorted(maps.Keys(f)), ", "))
	}
	return resource.App{Handler: s, PathInfo: s.TakesPathInfo()}, nil
}
