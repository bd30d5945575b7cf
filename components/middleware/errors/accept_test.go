package errors

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/failure"
)

func TestNegotiate(t *testing.T) {
	tests := []struct {
		name   string
		accept []string
		want   form
	}{
		{"none", nil, formText},
		{"empty", []string{""}, formText},
		{"curl", []string{"*/*"}, formText},
		{"Firefox", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, formHTML},
		{"Chromium", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"}, formHTML},
		{"an image of a page", []string{"image/avif,image/webp,*/*;q=0.8"}, formText},
		{"axios", []string{"application/json, text/plain, */*"}, formJSON},
		{"jQuery's getJSON", []string{"application/json, text/javascript, */*; q=0.01"}, formJSON},
		{"problem", []string{"application/problem+json"}, formJSON},
		{"application/*", []string{"application/*"}, formJSON},
		{"text/*", []string{"text/*"}, formText},
		{"text/* but html is named", []string{"text/*, text/html"}, formHTML},
		{"named first", []string{"text/plain, text/html"}, formText},
		{"in two fields", []string{"text/html;q=0.4", "application/json;q=0.6"}, formJSON},
		{"the quality counts", []string{"text/html;q=0.4, text/plain;q=0.5, application/json;q=0.3"}, formText},
		{"the exact range counts, not the better one", []string{"text/html;q=0.1, */*;q=0.5"}, formText},
		{"html refused", []string{"text/html;q=0, */*"}, formText},
		{"text refused", []string{"text/plain;q=0, */*;q=0.1"}, formHTML},
		{"everything refused", []string{"*/*;q=0"}, formText},
		{"nothing known", []string{"image/png"}, formText},
		{"in capitals, with spaces", []string{" TEXT/HTML ; Q=1 "}, formHTML},
		{"other parameters", []string{"text/html;charset=utf-8;q=0.2, text/plain;q=0.1"}, formHTML},
		{"no number", []string{"text/html;q=much, text/plain;q=0.1"}, formText},
		{"too large a number", []string{"text/html;q=7, text/plain;q=0.1"}, formText},
		{"not a number at all", []string{"text/html;q=NaN, text/plain;q=0.1"}, formText},
		{"garbage", []string{";;;,,,/;q"}, formText},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := negotiate(http.Header{"Accept": test.accept}); got != test.want {
				t.Errorf("got %s; want %s", got.contentType(), test.want.contentType())
			}
		})
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html, */*;q=0.1")
	f.Add("text/html;q=;;=,")
	f.Fuzz(func(t *testing.T, accept string) {
		got := negotiate(http.Header{"Accept": {accept}})
		if got.contentType() == "" {
			t.Error("there is no such form")
		}
		if got == formHTML && !strings.Contains(strings.ToLower(accept), "html") && !strings.Contains(accept, "/*") {
			t.Errorf("HTML for %q", accept)
		}
	})
}

func TestForms(t *testing.T) {
	s := new(stack)
	for accepted, want := range map[string]string{
		"text/html": "<h1>Bad Gateway</h1>", "application/json": `"title": "Bad Gateway"`, "text/plain": "502 Bad Gateway\n",
	} {
		w := s.get(t, func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(errors.New("the inside"), http.StatusBadGateway))
		}, accept(accepted))
		text := w.Body.String()
		if !strings.Contains(text, want) || !strings.Contains(text, w.Header().Get("Incident-Id")) || w.Code != http.StatusBadGateway {
			t.Errorf("%s: got %d, %s", accepted, w.Code, text)
		}
		for _, inside := range []string{"the inside", "_test.go", "goroutine", "catcher"} {
			if strings.Contains(text, inside) {
				t.Errorf("%s: the page tells %q:\n%s", accepted, inside, text)
			}
		}
	}
}
