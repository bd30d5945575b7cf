package errors

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// redacted stands for whatever looks like a secret.
const redacted = "[redacted]"

// A name is a secret's when it contains one of telling, or is one of short.
var (
	telling = []string{"pass", "pwd", "secret", "token", "key", "auth", "session", "credential", "csrf", "xsrf", "cookie", "signature", "jwt"}
	short   = []string{"sid", "sig", "pin", "otp", "code", "pw"}
)

// secret reports whether a header field, parameter or variable of that name may hold a
// secret. It rather says so once too often.
func secret(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(short, name) || slices.ContainsFunc(telling, func(word string) bool { return strings.Contains(name, word) })
}

// What a secret looks like in a text.
var (
	inURL    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"'@]+@`)
	inScheme = regexp.MustCompile(`(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/-]*[0-9=][A-Za-z0-9._~+/=-]*`)
	inJWT    = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	inPair   = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)(=|"\s*:\s*")([^\s"'&;,]+)`)
)

// scrub takes out of a text what looks like a secret.
func scrub(text string) string {
	text = inURL.ReplaceAllString(text, "${1}"+redacted+"@")
	text = inScheme.ReplaceAllString(text, "${1} "+redacted)
	text = inJWT.ReplaceAllString(text, redacted)
	return inPair.ReplaceAllStringFunc(text, func(pair string) string {
		part := inPair.FindStringSubmatch(pair)
		if secret(part[1]) {
			return part[1] + part[2] + redacted
		}
		return pair
	})
}

// redactHeader returns a copy that is fit for showing.
func redactHeader(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for name, values := range h {
		c[name] = redactAll(name, values)
	}
	return c
}

func redactAll(name string, values []string) []string {
	c := make([]string, len(values))
	for i, value := range values {
		if c[i] = redacted; !secret(name) {
			c[i] = scrub(value)
		}
	}
	return c
}

// Which values of a query redactURL takes out.
const (
	everyValue   = true
	secretValues = false
)

// redactURL writes a URL without its password, and without every value of its query or those of
// secrets.
func redactURL(u *url.URL, every bool) string {
	c := *u
	if c.User != nil {
		c.User = url.User("redacted")
	}
	var query strings.Builder
	for i, pair := range strings.Split(c.RawQuery, "&") {
		if i > 0 {
			query.WriteByte('&')
		}
		name, value, has := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		switch {
		case !has && every && pair != "":
			query.WriteString(redacted)
		case !has:
			query.WriteString(pair)
		case every || err != nil || secret(plain):
			query.WriteString(name + "=" + redacted)
		default:
			query.WriteString(name + "=" + scrub(value))
		}
	}
	c.RawQuery = query.String()
	return c.String()
}

// redactValue returns a copy of a variable that is fit for showing.
func redactValue(name string, v any) any {
	if secret(name) {
		return redacted
	}
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for name, value := range v {
			c[name] = redactValue(name, value)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, value := range v {
			c[i] = redactValue("", value)
		}
		return c
	}
	return scrub(fmt.Sprint(v))
}
