package failure

import (
	"net/http"
	"strconv"
	"strings"
)

// Form is one of the forms in which a client can be told of an error.
type Form int

// The forms, the one for a client that doesn't care first.
const (
	FormText Form = iota
	FormHTML
	FormJSON
)

// ContentType is what an answer of this form is sent as.
func (f Form) ContentType() string {
	return [...]string{"text/plain; charset=utf-8", "text/html; charset=utf-8", "application/problem+json"}[f]
}

// preference is what a client thinks of a form.
type preference struct {
	quality  float64
	exact    int // 2 where its type is named, 1 for a type with *, 0 for */*
	position int // of the range in the field
	known    bool
}

// better reports whether a client that thinks p of one form and o of another would rather have
// the first.
func (p preference) better(o preference) bool {
	switch {
	case p.quality != o.quality:
		return p.quality > o.quality
	case p.exact != o.exact:
		return p.exact > o.exact
	}
	return p.position < o.position
}

// Negotiate picks the form that an Accept field prefers (RFC 9110, 12.5.1). Of forms with the
// same quality it picks the one that is named, then the one named first. A client that
// doesn't care, or takes none of them, gets text.
func Negotiate(h http.Header) Form {
	var forms [3]preference
	position := 0
	for _, field := range h["Accept"] {
		for part := range strings.SplitSeq(field, ",") {
			position++
			media, params, _ := strings.Cut(part, ";")
			p := preference{quality: quality(params), position: position, known: true}
			var of []Form
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "text/html", "application/xhtml+xml":
				p.exact, of = 2, []Form{FormHTML}
			case "application/json", "application/problem+json":
				p.exact, of = 2, []Form{FormJSON}
			case "text/plain":
				p.exact, of = 2, []Form{FormText}
			case "text/*":
				p.exact, of = 1, []Form{FormText, FormHTML}
			case "application/*":
				p.exact, of = 1, []Form{FormJSON}
			case "*/*":
				of = []Form{FormText, FormHTML, FormJSON}
			}
			for _, f := range of {
				// The most specific range counts, whatever its quality.
				if old := forms[f]; !old.known || p.exact > old.exact || p.exact == old.exact && p.quality > old.quality {
					forms[f] = p
				}
			}
		}
	}
	best := FormText
	for f := FormHTML; f <= FormJSON; f++ {
		if forms[f].better(forms[best]) && forms[f].quality > 0 {
			best = f
		}
	}
	return best
}

// quality reads the weight among the parameters of a media range: 1 where there is none, 0 for
// one that isn't a number from 0 to 1.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
