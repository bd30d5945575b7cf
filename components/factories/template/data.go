package template

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/session"
)

// data is the dot of a page. The package comment is its manual.
type data struct {
	Path     string
	Prefix   string
	PathInfo string
	Vars     map[string]any
	Route    *environ.Route
	Request  request
	Session  *visitor
	Now      time.Time

	r       *http.Request // a copy with a bounded body
	maxForm int64
	query   url.Values
	form    url.Values
	formErr error

	status int
	header http.Header // what the page sets; a nil value removes
}

func newData(w http.ResponseWriter, r *http.Request, maxForm int64) *data {
	d := &data{
		Path:    r.URL.Path,
		Prefix:  environ.Prefix.Get(r),
		Vars:    environ.Vars.Get(r),
		Route:   environ.Matched.Get(r),
		Request: request{r},
		Now:     time.Now(),
		r:       r,
		maxForm: maxForm,
		status:  http.StatusOK,
	}
	if m := resource.Key.Get(r); m != nil {
		d.PathInfo = m.PathInfo
	}
	if s := session.Key.Get(r); s != nil {
		d.Session = &visitor{s}
	}
	if r.Body != nil && r.Body != http.NoBody {
		d.r = r.WithContext(r.Context())
		d.r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	return d
}

// Query returns the fields of the URL's query.
func (d *data) Query() url.Values {
	if d.query == nil {
		d.query = d.r.URL.Query()
	}
	return d.query
}

// Form returns the fields of the body.
func (d *data) Form() (url.Values, error) {
	if d.form == nil && d.formErr == nil {
		d.form, d.formErr = d.parseForm()
	}
	return d.form, d.formErr
}

func (d *data) parseForm() (url.Values, error) {
	if d.r.ContentLength > d.maxForm {
		err := fmt.Errorf("the form has %d bytes; it must have at most max_form, %d", d.r.ContentLength, d.maxForm)
		return nil, failure.WithStatus(err, http.StatusRequestEntityTooLarge)
	}
	err := d.r.ParseForm()
	if err == nil {
		// The body fits into maxForm, so that no upload becomes a file.
		if err = d.r.ParseMultipartForm(d.maxForm); errors.Is(err, http.ErrNotMultipart) {
			err = nil
		}
	}
	if long, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err := fmt.Errorf("the form has more than %d bytes; it must have at most max_form: %w", long.Limit, err)
		return nil, failure.WithStatus(err, http.StatusRequestEntityTooLarge)
	}
	if err != nil {
		if failure.Status(err) == http.StatusInternalServerError { // whoever read it doesn't know better
			err = failure.WithStatus(err, http.StatusBadRequest)
		}
		return nil, fmt.Errorf("form: %w", err)
	}
	if d.r.PostForm == nil {
		return url.Values{}, nil
	}
	return d.r.PostForm, nil
}

// Status sets the status of the response.
func (d *data) Status(status int) (string, error) {
	switch {
	case status < 200 || status > 599:
		return "", fmt.Errorf("the status is %d; it must be from 200 to 599", status)
	case status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified:
		return "", fmt.Errorf("the status is %d; it must be one that a page can have", status)
	}
	d.status = status
	return "", nil
}

// SetHeader sets a field of the response's header.
func (d *data) SetHeader(name, value string) (string, error) {
	if !httpguts.ValidHeaderFieldName(name) {
		return "", fmt.Errorf("the header field is %q; it must be a name of letters, digits and hyphens", name)
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return "", fmt.Errorf("the value of %s is %q; it must have no control characters", name, value)
	}
	name = http.CanonicalHeaderKey(name)
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Trailer":
		return "", fmt.Errorf("the header field is %s, which is the server's own", name)
	}
	if d.header == nil {
		d.header = make(http.Header)
	}
	if value == "" {
		d.header[name] = nil
	} else {
		d.header.Set(name, value)
	}
	return "", nil
}

// Redirect ends the page.
func (d *data) Redirect(to string) (string, error) {
	// Browsers read \ as / and leave out tabs and line ends, so /\host is another host.
	if to == "" || strings.ContainsFunc(to, func(c rune) bool { return c == '\\' || unicode.IsControl(c) }) {
		return "", fmt.Errorf("the redirect goes to %q; it must go to a URL", to)
	}
	return "", &redirect{d.absolute(to)}
}

// absolute returns what is relative to the page as the path that visitors know it by. To http.Redirect it would be relative
// to the path inside of this stack, and a query alone to the folder.
func (d *data) absolute(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || strings.HasPrefix(to, "/") {
		return to
	}
	page := url.URL{Path: d.Prefix + d.Path}
	return "/" + strings.TrimLeft(page.ResolveReference(u).String(), "/") // two slashes would begin a host
}

// redirect is the error that ends a page which sends the visitor elsewhere.
type redirect struct{ to string }

func (r *redirect) Error() string { return "redirect to " + r.to }

// request is what a page sees of the request. It hands out copies, so that no page changes
// what other parts of the stack look at.
type request struct{ r *http.Request }

func (q request) Method() string      { return q.r.Method }
func (q request) Host() string        { return q.r.Host }
func (q request) Proto() string       { return q.r.Proto }
func (q request) RemoteAddr() string  { return q.r.RemoteAddr }
func (q request) Header() http.Header { return q.r.Header.Clone() }

func (q request) URL() *url.URL {
	u := *q.r.URL
	return &u
}

// Cookie returns the value of the first cookie of that name, empty if there is none.
func (q request) Cookie(name string) string {
	c, err := q.r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// visitor is the session as pages use it; nil where the URL has none.
type visitor struct{ s session.Session }

var errNoSession = errors.New("this URL has no session; put the session middleware before the finder, or switch it on")

func (v *visitor) Get(key string) (any, error) {
	if v == nil {
		return nil, nil
	}
	return v.s.Get(key)
}

func (v *visitor) Set(key string, value any) (string, error) {
	if v == nil {
		return "", errNoSession
	}
	return "", v.s.Set(key, value)
}

func (v *visitor) Add(key string, n int) (int, error) {
	if v == nil {
		return 0, errNoSession
	}
	sum, err := session.Value[int](v.s, key)
	if err != nil {
		return 0, err
	}
	sum += n
	return sum, v.s.Set(key, sum)
}

func (v *visitor) Delete(key string) (string, error) {
	if v == nil {
		return "", nil
	}
	return "", v.s.Delete(key)
}

func (v *visitor) Keys() ([]string, error) {
	if v == nil {
		return nil, nil
	}
	return v.s.Keys()
}

func (v *visitor) Renew() (string, error) {
	if v == nil {
		return "", errNoSession
	}
	return "", v.s.Renew()
}

func (v *visitor) Destroy() (string, error) {
	if v == nil {
		return "", nil
	}
	return "", v.s.Destroy()
}
