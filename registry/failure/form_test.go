package failure_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/failure"
)

func TestNegotiate(t *testing.T) {
	tests := []struct {
		name   string
		accept []string
		want   failure.Form
	}{
		{"none", nil, failure.FormText},
		{"empty", []string{""}, failure.FormText},
		{"curl", []string{"*/*"}, failure.FormText},
		{"Firefox", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, failure.FormHTML},
		{"Chromium", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"}, failure.FormHTML},
		{"an image of a page", []string{"image/avif,image/webp,*/*;q=0.8"}, failure.FormText},
		{"axios", []string{"application/json, text/plain, */*"}, failure.FormJSON},
		{"jQuery's getJSON", []string{"application/json, text/javascript, */*; q=0.01"}, failure.FormJSON},
		{"problem", []string{"application/problem+json"}, failure.FormJSON},
		{"application/*", []string{"application/*"}, failure.FormJSON},
		{"text/*", []string{"text/*"}, failure.FormText},
		{"text/* but html is named", []string{"text/*, text/html"}, failure.FormHTML},
		{"named first", []string{"text/plain, text/html"}, failure.FormText},
		{"in two fields", []string{"text/html;q=0.4", "application/json;q=0.6"}, failure.FormJSON},
		{"the quality counts", []string{"text/html;q=0.4, text/plain;q=0.5, application/json;q=0.3"}, failure.FormText},
		{"the exact range counts, not the better one", []string{"text/html;q=0.1, */*;q=0.5"}, failure.FormText},
		{"html refused", []string{"text/html;q=0, */*"}, failure.FormText},
		{"text refused", []string{"text/plain;q=0, */*;q=0.1"}, failure.FormHTML},
		{"everything refused", []string{"*/*;q=0"}, failure.FormText},
		{"nothing known", []string{"image/png"}, failure.FormText},
		{"in capitals, with spaces", []string{" TEXT/HTML ; Q=1 "}, failure.FormHTML},
		{"other parameters", []string{"text/html;charset=utf-8;q=0.2, text/plain;q=0.1"}, failure.FormHTML},
		{"no number", []string{"text/html;q=much, text/plain;q=0.1"}, failure.FormText},
		{"too large a number", []string{"text/html;q=7, text/plain;q=0.1"}, failure.FormText},
		{"not a number at all", []string{"text/html;q=NaN, text/plain;q=0.1"}, failure.FormText},
		{"garbage", []string{";;;,,,/;q"}, failure.FormText},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := failure.Negotiate(http.Header{"Accept": test.accept}); got != test.want {
				t.Errorf("got %s; want %s", got.ContentType(), test.want.ContentType())
			}
		})
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html, */*;q=0.1")
	f.Add("text/html;q=;;=,")
	f.Fuzz(func(t *testing.T, accept string) {
		got := failure.Negotiate(http.Header{"Accept": {accept}})
		if got.ContentType() == "" {
			t.Error("there is no such form")
		}
		if got == failure.FormHTML && !strings.Contains(strings.ToLower(accept), "html") && !strings.Contains(accept, "/*") {
			t.Errorf("HTML for %q", accept)
		}
	})
}
