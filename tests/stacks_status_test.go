package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/inspect"
)

func askStatus(t *testing.T, s *server) {
	ask := func(query string, into any) {
		t.Helper()
		answer := s.get(http.DefaultClient, "/status/"+query)
		if answer.status != http.StatusOK || answer.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%q is answered with %d, %v", query, answer.status, answer.header)
		}
		if strings.Contains(answer.body, "nobody must") {
			t.Errorf("%q tells the secret:\n%s", query, answer.body)
		}
		if err := json.Unmarshal([]byte(answer.body), into); err != nil {
			t.Fatalf("%q: %v in %s", query, err, answer.body)
		}
	}

	var all struct {
		inspect.Outline
		Components []inspect.Component
	}
	ask("", &all)
	if len(all.Servers) != 1 || len(all.Slots) != 3 || all.Slots[1].On || len(all.Overrides) != 2 {
		t.Errorf("the stack is said to be %+v", all.Outline)
	}
	purposes := map[string]string{}
	for _, c := range all.Components {
		purposes[c.Kind+" "+c.Name] = c.Purpose
	}
	if !strings.HasPrefix(purposes["app status"], "tells what the running stack is") || purposes["server http"] == "" {
		t.Errorf("the components are said to be %v", purposes)
	}

	var e inspect.Explanation
	ask("?explain=http://example.org/tools/x.cgi&method=post", &e)
	if e.Method != "POST" || e.Host != "example.org" || len(e.Patterns) != 1 || e.Patterns[0].Pattern != "/tools/" {
		t.Errorf("it explains %+v", e)
	}
	if limit := e.Slots[1]; !limit.On || len(limit.Overrode) != 1 || limit.Settings[0].Overrode[0].Value != "30" {
		t.Errorf("the limit is said to be %+v", limit)
	}
	ask("?explain=/hello", &e)
	if e.Found == nil || !strings.HasSuffix(e.Found.File, "static/site/hello.html") || e.Found.Factory != "static" {
		t.Errorf("it finds %+v", e.Found)
	}

	page := s.get(http.DefaultClient, "/status/?explain=/tools/", "Accept", "text/html")
	contains(t, "the page", page.body, "rate_limit", "status.yaml:", "overrode <code>30</code>", "[redacted]")
	contains(t, "the page of all", s.get(http.DefaultClient, "/status/", "Accept", "text/html").body, "/tools/", "compiled into this program")
	if strings.Contains(page.body, "nobody must") {
		t.Error("the page tells the secret")
	}
	if bad := s.get(http.DefaultClient, "/status/?explain=/a/../b"); bad.status != http.StatusBadRequest || !strings.Contains(bad.body, "must not have") {
		t.Errorf("a bad path is answered with %d: %s", bad.status, bad.body)
	}

	far := s.get(http.DefaultClient, "/status/", "X-Forwarded-For", "192.0.2.1")
	if far.status != http.StatusForbidden || !strings.Contains(far.body, "from this machine alone") || strings.Contains(far.body, "yaml") {
		t.Errorf("a request from elsewhere is answered with %d: %s", far.status, far.body)
	}
}
