package errors

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Set-Cookie": true, "X-Api-Key": true, "X-CSRF-Token": true,
		"password": true, "PASSWD": true, "db_password": true, "client_secret": true, "access_token": true, "PHPSESSIONID": true, "sid": true,
		"credentials": true, "pin": true, "code": true,
		"Accept": false, "User-Agent": false, "page": false, "q": false, "opinion": false, "side": false, "Content-Type": false, "encode": false,
	} {
		if got := secret(name); got != want {
			t.Errorf("%s: got %v; want %v", name, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "no such table: users (id=7)", "no such table: users (id=7)"},
		{"user and password", "dial postgres://me:hunter2@db:5432/x: refused", "dial postgres://[redacted]@db:5432/x: refused"},
		{"user alone", "git+ssh://hunter2@host/x", "git+ssh://[redacted]@host/x"},
		{"mail address stays", "mail to me@example.org", "mail to me@example.org"},
		{"bearer", "got Bearer hunter2hunter2", "got Bearer [redacted]"},
		{"basic", "basic aHVudGVyMjpodW50ZXIy=", "basic [redacted]"},
		{"basic in a sentence", "basic authentication is off", "basic authentication is off"},
		{"JWT", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2lnbmF0dXJl is old", "token [redacted] is old"},
		{"parameter", "/login?user=me&password=hunter2&x=1", "/login?user=me&password=[redacted]&x=1"},
		{"DSN", "host=db password=hunter2 dbname=x", "host=db password=[redacted] dbname=x"},
		{"JSON", `{"user":"me","api_key": "hunter2"}`, `{"user":"me","api_key": "[redacted]"}`},
		{"sentence with a colon", "session: store is closed", "session: store is closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := scrub(test.text); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestRedactURL(t *testing.T) {
	tests := []struct{ name, url, secrets, every string }{
		{"no query", "/a%20b", "/a%20b", "/a%20b"},
		{"query", "/a?b=c&d", "/a?b=c&d", "/a?b=[redacted]&[redacted]"},
		{"secret", "/a?b=c&Token=hunter2", "/a?b=c&Token=[redacted]", "/a?b=[redacted]&Token=[redacted]"},
		{"escaped name", "/a?%74oken=hunter2", "/a?%74oken=[redacted]", "/a?%74oken=[redacted]"},
		{"broken name", "/a?%zz=hunter2", "/a?%zz=[redacted]", "/a?%zz=[redacted]"},
		{"secret in a value", "/a?next=http://me:hunter2@h/", "/a?next=http://[redacted]@h/", "/a?next=[redacted]"},
		{"user", "http://me:hunter2@h/a", "http://redacted@h/a", "http://redacted@h/a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u, err := url.Parse(test.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := redactURL(u, secretValues); got != test.secrets {
				t.Errorf("without secrets %s; want %s", got, test.secrets)
			}
			if got := redactURL(u, everyValue); got != test.every {
				t.Errorf("without values %s; want %s", got, test.every)
			}
			if u.String() != test.url {
				t.Errorf("the URL itself is now %s", u)
			}
		})
	}
}

func TestRedactHeader(t *testing.T) {
	h := http.Header{
		"Cookie": {"a=1", "b=2"}, "Authorization": {"Bearer x"}, "Referer": {"http://h/?token=hunter2"}, "Accept": {"*/*"},
	}
	want := http.Header{
		"Cookie": {"[redacted]", "[redacted]"}, "Authorization": {"[redacted]"}, "Referer": {"http://h/?token=[redacted]"}, "Accept": {"*/*"},
	}
	if diff := cmp.Diff(want, redactHeader(h)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if h.Get("Cookie") != "a=1" {
		t.Error("the header itself was changed")
	}
}

func TestRedactValue(t *testing.T) {
	v := map[string]any{"theme": "dark", "n": 7, "db": map[string]any{"password": "hunter2"}, "list": []any{"redis://:hunter2@h", map[string]any{"key": 1}}}
	want := map[string]any{"theme": "dark", "n": "7", "db": map[string]any{"password": redacted}, "list": []any{"redis://[redacted]@h", map[string]any{"key": redacted}}}
	if diff := cmp.Diff(want, redactValue("site", v)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := redactValue("api_token", v); got != redacted {
		t.Errorf("got %v; want it redacted as a whole", got)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("http://a:b@c?token=x&y", "hunter2")
	f.Fuzz(func(t *testing.T, around, word string) {
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || len(word) < 6 || strings.Contains(redacted+around+"password", word) {
			t.Skip()
		}
		if got := scrub(around + " password=" + word + " "); strings.Contains(got, word) {
			t.Errorf("%q is left in %q", word, got)
		}
	})
}
