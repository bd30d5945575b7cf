// Package status tells what the running stack is, and what a URL meets in it.
//
//	urls:
//	  /status/: {finder: {use: status}}
//
// It answers people and programs on this machine, and everybody else with 403. A browser gets a page, and
// whatever doesn't ask for text/html gets JSON:
//
//	curl http://127.0.0.1:8080/status/
//	curl 'http://127.0.0.1:8080/status/?explain=/admin/&method=POST'
//
// The first is the stack as it runs: the servers, the slots, the overrides, and the components that are
// compiled into the program. The second is what stackd explain --json prints, with the same
// names: the overrides that match, and each setting with its value, the line that set it and what it
// overrode. A URL that is none is answered with 400.
//
// With format=json in the query a browser gets JSON, too.
//
// # Who may see it
//
// Secrets are redacted, but what is left tells a stranger much. So a request must come from this machine,
// for a Host that is this machine, and without a header field such as X-Forwarded-For that a proxy
// adds. A proxy on this machine that adds none makes every visitor look like that: behind one, put
// auth_basic before it, or leave it out. The clients of unix sockets are strangers, too.
//
// Of several processes the one that answers tells what it runs, which is what all of them do. How these are, and what they are
// doing, is told by the command stackd status.
//
// Nothing of it may be cached, and no other methods than GET, HEAD and OPTIONS are understood.
package status

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/registry/local"
)

func init() { registry.Register(Component) }

// Component is the status app.
var Component = registry.App[Config]{
	Name:   "status",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking}, // an explanation may look at the disk
	Build:  build,
}

// Config has no settings.
type Config struct{}

func build(*registry.Env, Config) (http.Handler, error) { return http.HandlerFunc(serve), nil }

const refusal = "403 forbidden: the status is for requests from this machine alone, made without a proxy and to a name of this machine such as localhost"

func serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch {
	case !local.Request(r):
		http.Error(w, refusal, http.StatusForbidden)
		return
	case r.Method == http.MethodOptions:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	stack := inspect.Key.Get(r)
	if stack == nil {
		http.Error(w, "404 not found: there is no stack that could be asked", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	p := page{Method: query.Get("method"), URL: query.Get("explain")}
	if p.Method == "" {
		p.Method = http.MethodGet
	}
	status := http.StatusOK
	if p.URL != "" {
		e, err := stack.Explain(strings.ToUpper(p.Method), p.URL)
		if err != nil {
			p.Problem, status = err.Error(), http.StatusBadRequest
		} else {
			p.Explanation = &e
		}
	}
	h.Add("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	var body []byte
	var err error
	if strings.Contains(r.Header.Get("Accept"), "text/html") && query.Get("format") != "json" {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		p.Outline, p.Kinds = stack.Outline(), kinds(stack.Components())
		body, err = p.html()
	} else {
		h.Set("Content-Type", "application/json")
		body, err = p.json(stack)
	}
	if err != nil {
		failure.Report(r, err)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// page is what is shown.
type page struct {
	inspect.Outline
	Kinds []kind

	Method, URL string
	Explanation *inspect.Explanation
	Problem     string
}

// kind is the components of one kind.
type kind struct {
	Name       string
	Components []inspect.Component
}

func kinds(all []inspect.Component) []kind {
	var found []kind
	for _, c := range all {
		if len(found) == 0 || found[len(found)-1].Name != c.Kind {
			found = append(found, kind{Name: c.Kind})
		}
		last := &found[len(found)-1]
		last.Components = append(last.Components, c)
	}
	return found
}

// json is what programs get.
func (p page) json(stack inspect.Stack) ([]byte, error) {
	var v any
	switch {
	case p.Problem != "":
		v = map[string]string{"problem": p.Problem}
	case p.Explanation != nil:
		v = p.Explanation
	default:
		v = struct {
			inspect.Outline
			Components []inspect.Component `json:"components"`
		}{stack.Outline(), stack.Components()}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	pageTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
		"style":   func() template.CSS { return template.CSS(pageCSS) }, //nolint:gosec // our own
		"methods": func() []string { return []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} },
	}).Parse(pageHTML))
)

// html is what people get.
func (p page) html() ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, p)
	return b.Bytes(), err
}
