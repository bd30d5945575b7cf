package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askServlets votes by the form and by JSON-RPC, at the URL of a file and at one of its own.
func askServlets(t *testing.T, s *server) {
	visitor := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar}
	}
	post := func(client *http.Client, path, kind, body string) answer {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		return s.do(client, r)
	}
	const form, rpc = "application/x-www-form-urlencoded", "application/json"

	contains(t, "the start page", s.get(http.DefaultClient, "/").body, `fetch("/news/drinks"`)
	for path, choice := range map[string]string{"/news/drinks": "cocoa", "/open": "yes"} {
		client := visitor()
		contains(t, "the form at "+path, s.get(client, path).body, `value="`+choice+`"`)
		voted := post(client, path, form, url.Values{"choice": {choice}}.Encode())
		contains(t, "the result at "+path, voted.body, choice+"<td>1<", "You chose "+choice)
		if voted.url.Path != path {
			t.Errorf("the form at %s leads to %s", path, voted.url)
		}
		var call struct{ Result struct{ Chosen string } }
		if got := post(client, path, rpc, `{"jsonrpc": "2.0", "id": 1, "method": "result"}`); json.Unmarshal([]byte(got.body), &call) != nil || call.Result.Chosen != choice {
			t.Errorf("%s answers a call with %d %s", path, got.status, got.body)
		}
	}
	batch := post(visitor(), "/news/drinks", rpc, `[{"jsonrpc": "2.0", "method": "vote", "params": {"choice": "cocoa"}}, {"jsonrpc": "2.0", "id": "a", "method": "result"}, {"jsonrpc": "2.0", "id": "b", "method": "reset"}]`)
	contains(t, "a batch", batch.body, `{"name":"cocoa","votes":2}`, `"chosen":"cocoa"`, `"id":"a"`, `{"code":-32601,"message":"Method not found"},"id":"b"`)

	put, err := http.NewRequest(http.MethodPut, s.url+"/news/drinks", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.do(http.DefaultClient, put); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("PUT is answered with %d, Allow: %s", got.status, got.header.Get("Allow"))
	}
	if got := s.get(http.DefaultClient, "/news/drinks/more"); got.status != http.StatusNotFound {
		t.Errorf("what is behind a servlet that has nothing there is %d", got.status)
	}

	// A file for which there is no servlet.
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.file), "servlets", "site", "news", "lunch.servlet"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.get(http.DefaultClient, "/news/lunch"); got.status != http.StatusInternalServerError || got.header.Get("Incident-Id") == "" {
		t.Errorf("a file without a servlet is %d", got.status)
	}
	s.await("request failed", func(r record) bool {
		return strings.Contains(fmt.Sprint(r["error"]), `there is no servlet "lunch" among servlets, which has drinks`)
	})
}
