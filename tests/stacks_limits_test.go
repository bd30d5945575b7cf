package tests

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

func askLimits(t *testing.T, s *server) {
	page := s.get(http.DefaultClient, "/", "Accept-Encoding", "identity")
	contains(t, "the page", page.body, "A guarded site")
	small := s.get(http.DefaultClient, "/", "Accept-Encoding", "gzip")
	if got := small.header.Get("Content-Encoding"); got != "gzip" || len(small.body) > len(page.body)*2/3 {
		t.Errorf("the page is %d bytes of %q, and %d bytes as it is", len(small.body), got, len(page.body))
	}
	z, err := gzip.NewReader(strings.NewReader(small.body))
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := io.ReadAll(z); err != nil || string(whole) != page.body {
		t.Errorf("the page is another one when compressed (%v)", err)
	}

	for i := range 5 {
		if got := s.get(http.DefaultClient, "/guess"); got.status != http.StatusOK || got.body != "wrong\n" {
			t.Errorf("guess %d answered %d: %q", i+1, got.status, got.body)
		}
	}
	if got := s.get(http.DefaultClient, "/guess"); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("guess 6 answered %d, with Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	if got := s.get(http.DefaultClient, "/"); got.status != http.StatusOK {
		t.Errorf("the page answered %d after the guesses", got.status)
	}

	// One is run until its time is over, and the others are refused.
	answers := make(map[int]http.Header)
	asked := make(chan *http.Response, 5)
	for range cap(asked) {
		go func() {
			answer, err := http.Get(s.url + "/slow")
			if err != nil {
				t.Error(err)
			} else {
				answer.Body.Close()
			}
			asked <- answer
		}()
	}
	for range cap(asked) {
		if answer := <-asked; answer != nil {
			answers[answer.StatusCode] = answer.Header
		}
	}
	if len(answers) != 2 || answers[http.StatusGatewayTimeout].Get("Incident-Id") == "" || answers[http.StatusServiceUnavailable].Get("Retry-After") == "" {
		t.Errorf("what takes too long answered %v", answers)
	}

	// The stack file asks the port that it names, and the test's is another one.
	s.reload(func() { edit(t, s.file, `http://127\.0\.0\.1:\d+`, s.url) })
	stranger := s.get(http.DefaultClient, "/private/?a=b")
	if stranger.status != http.StatusUnauthorized || stranger.header.Get("WWW-Authenticate") == "" {
		t.Errorf("a stranger is answered %d with %v", stranger.status, stranger.header)
	}
	contains(t, "the question", stranger.body, "You asked for /private/?a=b,")
	ada := s.get(http.DefaultClient, "/private/", "Authorization", "Basic YWRhOnNlc2FtZQ==", "Remote-User", "root")
	contains(t, "the private part", ada.body, "Welcome, ada.")

	metrics := s.get(http.DefaultClient, "/metrics").body
	contains(t, "the metrics", metrics,
		`stackd_http_requests_total{method="GET",route="/guess",status="429"} 1`,
		`stackd_http_requests_total{method="GET",route="/private/",status="401"} 1`,
		`stackd_http_request_duration_seconds_count{method="GET",route="/guess"} 6`)
	if got := s.get(http.DefaultClient, "/metrics", "X-Forwarded-For", "192.0.2.1"); got.status != http.StatusNotFound {
		t.Errorf("the metrics were shown to somebody else, with %d", got.status)
	}
}
