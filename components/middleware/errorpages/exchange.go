package errorpages

import (
	"bufio"
	"html/template"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// site is what the requests of an instance share.
type site struct {
	pages     pages
	intercept bool
	log       *slog.Logger
}

// exchange is the response to one request.
type exchange struct {
	response.Writer
	*site
	r *http.Request
	// made is what the catcher says of its answer. It is the own one unless another error_pages stands further out.
	made *failure.Answer
	own  failure.Answer
	// page may stand for the answer; nil when that is decided. HTML waits until it has a body, and an answer without a type
	// until its body tells that: its status, and its header as the app sent it.
	page   *template.Template
	status int
	header http.Header
	// lost is the header of an app whose answer was replaced; what it writes is discarded.
	lost http.Header
}

func (s *site) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	e := &exchange{site: s, r: r}
	e.Init(w, nil)
	if e.made = failure.Made.Get(r); e.made == nil {
		e.made = &e.own
		failure.Made.Set(r, e.made)
		defer failure.Made.Set(r, nil)
	}
	next.ServeHTTP(e, r)
	e.decide(true) // it has no body
}

// Header returns the app's own header, once what it sets doesn't count any more.
func (e *exchange) Header() http.Header {
	if e.lost != nil {
		return e.lost
	}
	return e.Writer.Header()
}

// WriteHeader decides, if the header says enough.
func (e *exchange) WriteHeader(status int) {
	if e.page != nil {
		return // as in net/http, the first one counts
	}
	page := e.pages[status]
	if page == nil || e.Committed() {
		e.Writer.WriteHeader(status)
		return
	}
	e.page, e.status = page, status
	mime := typeOf(e.Header())
	switch {
	case e.replaceable(mime):
		e.decide(true)
	case mime != "" && (!html(mime) || e.r.Method == http.MethodHead):
		e.decide(false)
	default:
		e.header = e.Header().Clone()
	}
}

// decide sends the answer, or the page for it if that may be and the client would rather have it.
func (e *exchange) decide(replace bool) {
	page := e.page
	if page == nil {
		return
	}
	e.page = nil
	h := e.Header()
	if e.header != nil {
		// What the app has set since, such as trailers, comes later.
		late := maps.Clone(h)
		restore(h, e.header)
		defer func() { restore(e.Header(), late) }()
	}
	if replace {
		vary(h)
		replace = failure.Negotiate(e.r.Header) == failure.FormHTML
	}
	if !replace {
		e.Writer.WriteHeader(e.status)
		return
	}
	body, err := render(page, e.status, h.Get("Incident-Id"))
	if err != nil {
		e.log.LogAttrs(e.r.Context(), slog.LevelError, "error page failed", slog.String("error", err.Error()))
		e.Writer.WriteHeader(e.status)
		return
	}
	clean(h, e.status)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	e.Writer.WriteHeader(e.status)
	if e.r.Method != http.MethodHead {
		_, _ = e.Writer.Write(body) // a client that left doesn't need it
	}
	e.lost = make(http.Header)
}

// restore makes a header what another one is.
func restore(h, other http.Header) {
	clear(h)
	maps.Copy(h, other)
}

// typeOf returns the type that a header says, without parameters and in small letters.
func typeOf(h http.Header) string {
	mime, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(mime))
}

func html(mime string) bool { return mime == "text/html" || mime == "application/xhtml+xml" }

// replaceable reports whether a page may stand for an answer of that type that has a body.
func (e *exchange) replaceable(mime string) bool {
	return mime == "text/plain" ||
		html(mime) && (*e.made == failure.PlainAnswer || e.intercept && *e.made == failure.NoAnswer)
}

// vary says that the answer depends on the field Accept.
func vary(h http.Header) {
	for _, field := range h["Vary"] {
		for name := range strings.SplitSeq(field, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Accept") {
				return
			}
		}
	}
	h.Add("Vary", "Accept")
}

// ofBody are the header fields that describe a body, beside those that begin with Content-.
var ofBody = []string{"Accept-Ranges", "Digest", "Etag", "Last-Modified", "Link", "Refresh", "Repr-Digest", "Trailer", "Transfer-Encoding"}

// clean removes what describes the body that is replaced.
func clean(h http.Header, status int) {
	for _, name := range ofBody {
		delete(h, name)
	}
	for name := range h {
		if name == "Content-Range" && status == http.StatusRequestedRangeNotSatisfiable {
			continue // it tells how long the file is
		}
		if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
}

func (e *exchange) Write(p []byte) (int, error) {
	if e.page != nil && len(p) > 0 {
		mime := typeOf(e.header)
		if mime == "" {
			mime, _, _ = strings.Cut(http.DetectContentType(p), ";") // as net/http does
		}
		e.decide(e.replaceable(mime))
	}
	switch {
	case e.lost != nil:
		return len(p), nil
	case e.page != nil:
		return 0, nil
	}
	return e.Writer.Write(p)
}

// ReadFrom leaves the copying to the connection.
func (e *exchange) ReadFrom(src io.Reader) (int64, error) {
	if e.page != nil || e.lost != nil {
		return io.Copy(struct{ io.Writer }{e}, src)
	}
	return e.Writer.ReadFrom(src)
}

// FlushError sends what there is. An answer that waits goes on waiting: a proxy flushes the header before it knows whether
// there is a body.
func (e *exchange) FlushError() error {
	if e.page != nil {
		return nil
	}
	return e.Writer.FlushError()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (e *exchange) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = e.FlushError()
}

// Hijack hands the connection over, after the header if there is one.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	e.decide(false)
	return e.Writer.Hijack()
}
