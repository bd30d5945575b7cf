package errors

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/local"
)

// answer is what everybody may see. The members of the JSON form are RFC 9457's.
type answer struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Incident string `json:"incident"`
	// Debug is nil for everybody but the developer.
	Debug *report `json:"debug,omitempty"`
}

// newAnswer says what happened without saying anything about the inside.
func newAnswer(status int, incident string, r *http.Request) answer {
	a := answer{Type: "about:blank", Title: http.StatusText(status), Status: status, Incident: incident}
	if a.Title == "" {
		a.Title = "Error"
	}
	switch {
	case status == http.StatusServiceUnavailable:
		a.Detail = "The server can't answer at the moment. Please try again in a while."
	case status >= 500:
		a.Detail = "The server could not answer this request. It is not your fault."
	default:
		a.Detail = "The server could not answer this request as it was sent."
	}
	a.Instance = environ.Prefix.Get(r) + r.URL.EscapedPath() + "#" + incident
	return a
}

// answer makes the response to the first of the incidents, and returns its status.
func (q *request) answer(status int, incidents []*failure.Incident) int {
	a := newAnswer(status, incidents[0].ID, q.r)
	form := failure.Negotiate(q.r.Header)
	body, shown, err := q.render(a, form, incidents)
	if err != nil {
		q.log.LogAttrs(q.r.Context(), slog.LevelError, "error page failed", slog.String("incident", a.Incident), slog.String("error", textOf(err)))
		form, status = failure.FormText, http.StatusInternalServerError
		body = []byte("500 Internal Server Error\n\nIncident " + a.Incident + "\n")
	}
	made := failure.PlainAnswer
	h := q.Header()
	q.clean(h)
	if shown {
		made = failure.DebugAnswer
		for name := range h {
			// No page of another origin may read this one.
			if strings.HasPrefix(name, "Access-Control-") {
				delete(h, name)
			}
		}
	}
	h.Set("Incident-Id", a.Incident)
	h.Set("Content-Type", form.ContentType())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	if form == failure.FormHTML {
		h.Set("Content-Security-Policy", viewOf(shown).policy)
		h.Set("Referrer-Policy", "no-referrer")
	}
	if answer := failure.Made.Get(q.r); answer != nil {
		*answer = made
	}
	q.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.Write(body) // a client that left doesn't need it
	}
	// The visitor doesn't wait for the reporters.
	_ = http.NewResponseController(q.ResponseWriter).Flush()
	return status
}

// ofBody are the header fields that describe a body or what may be done with it, beside those
// that begin with Content-.
var ofBody = []string{
	"Accept-Ranges", "Age", "Cache-Control", "Digest", "Etag", "Expires", "Last-Modified", "Link",
	"Location", "Pragma", "Refresh", "Repr-Digest", "Trailer", "Transfer-Encoding",
}

// clean removes what belongs to the answer that was lost. What an app says of itself or of the
// visitor, such as CORS fields or Retry-After, stays; so do cookies set further out.
func (q *request) clean(h http.Header) {
	for _, name := range ofBody {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
	if cookies := h["Set-Cookie"]; q.cookies == 0 {
		delete(h, "Set-Cookie")
	} else if len(cookies) > q.cookies {
		h["Set-Cookie"] = cookies[:q.cookies]
	}
}

// render writes the answer in that form. Shown says that it tells about the inside. A panic on
// the way, as of an error's own methods, is an error.
func (q *request) render(a answer, form failure.Form, incidents []*failure.Incident) (body []byte, shown bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	shown = q.debug && local.Request(q.r)
	if shown {
		a.Debug = q.newReport(a, incidents)
	}
	var b bytes.Buffer
	switch form {
	case failure.FormHTML:
		err = viewOf(shown).page.Execute(&b, a)
	case failure.FormJSON:
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(a)
	default:
		if shown {
			b.WriteString(a.Debug.Text)
			break
		}
		fmt.Fprintf(&b, "%d %s\n\n%s\n\nIncident %s\n", a.Status, a.Title, a.Detail, a.Incident)
	}
	return b.Bytes(), shown, err
}

//go:embed page.html page.css debug.html debug.css
var files embed.FS

// viewOf returns the debug page or everybody's.
func viewOf(debug bool) view {
	if debug {
		return debugView()
	}
	return plainView()
}

// view is a page of its own style, and the policy under which browsers show it.
type view struct {
	page   *template.Template
	policy string
}

// The pages are parsed when the first of each is needed.
var (
	plainView = sync.OnceValue(func() view { return newView("page.html", "page.css") })
	debugView = sync.OnceValue(func() view { return newView("debug.html", "page.css", "debug.css") })
)

func newView(page string, styles ...string) view {
	var style []byte
	for _, name := range styles {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		style = append(style, text...)
	}
	hash := sha256.Sum256(style)
	t := template.New(page).Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }})
	return view{
		template.Must(t.ParseFS(files, page)),
		"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}
