package cmd

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackd/stackd/cmd/control"
)

// TestOnReload has streams of every kind under way where a reload changes what they meet: those that are to close
// end at once, with what they have at the other end; those that are kept go on, and the old generation is closed.
func TestOnReload(t *testing.T) {
	const script = "#!/bin/sh\necho $$ > \"$0.pid\"\nprintf 'Content-Type: text/event-stream\\n\\ndata: hello\\n\\n'\nexec sleep 1000\n"
	dir := t.TempDir()
	for _, name := range []string{"close", "keep"} {
		if err := os.MkdirAll(filepath.Join(dir, "site", name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "site", name, "a.cgi"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "site", name, "a.fcgi"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up, tell := upstream(t)
	fast, err := net.Listen("unix", filepath.Join(dir, "fcgi.sock"))
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = fcgi.Serve(fast, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: hello\n\n")
			w.(http.Flusher).Flush()
			<-over
		}))
	}()
	t.Cleanup(func() {
		close(over)
		fast.Close()
		<-served
	})

	stack := func(turn int) string {
		return fmt.Sprintf(`servers: [{use: http, listen: "127.0.0.1:0"}]
deadlines: {drain: 1h, stop: 1ms}
vars: {turn: %d}
stack:
  - errors
  - {use: finder, root: site, factories: {.cgi: cgi, .fcgi: {use: fastcgi, address: "unix:fcgi.sock"}}}
urls:
  /close/: {on_reload: close}
  /keep/: {on_reload: keep}
  /close/up/: {finder: {use: proxy, to: ["%[2]s"]}}
  /keep/up/: {finder: {use: proxy, to: ["%[2]s"]}}
`, turn, up)
	}
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte(stack(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")
	log := r.follow()
	client := control.New(filepath.Join(dir, ".stack.yaml.sock"))

	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	streams := make(map[string][]stream)
	for _, word := range []string{"close", "keep"} {
		for path, socket := range map[string]bool{"/up/ws": true, "/up/events": false, "/a.cgi": false, "/a.fcgi": false} {
			streams[word] = append(streams[word], open(ctx, t, address, "/"+word+path, socket))
		}
	}
	r.save(stack(1))
	reloaded := log.await(t, "generation serves", 1)
	if reloaded["closed"] != 4.0 || reloaded["kept"] != 4.0 || reloaded["moved"] != 0.0 || reloaded["draining"] != 0.0 {
		t.Errorf("the log has %v", reloaded)
	}
	log.await(t, "generation closed", 1) // the deadline is an hour
	for _, s := range streams["close"] {
		if err := s.hears("anything"); err == nil || strings.Contains(err.Error(), "got") {
			t.Errorf("%s goes on: %v", s.name, err)
		}
	}
	tell("still here")
	for _, s := range streams["keep"] {
		if strings.Contains(s.name, "/up/") {
			if err := s.hears("still here"); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Generations) != 1 || status.KeptRequests != 4 || len(status.Requests) != 4 {
		t.Errorf("the status is %+v", status)
	}
	var text strings.Builder
	text.WriteString(statusText(status, status.Started))
	for _, want := range []string{"4 requests kept from generations that are closed, as on_reload says (+)", "  1+ GET "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("status has no %q:\n%s", want, text.String())
		}
	}
	for word, runs := range map[string]bool{"close": false, "keep": true} {
		pid, err := os.ReadFile(filepath.Join(dir, "site", word, "a.cgi.pid"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Stat("/proc/" + strings.TrimSpace(string(pid)))
		if got := err == nil; got != runs {
			t.Errorf("that the script below /%s/ runs is %t", word, got)
		}
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("the server ended with %v after %v", err, log.last)
	}
	for _, s := range streams["keep"] {
		if err := s.hears("anything"); err == nil {
			t.Errorf("%s goes on after the end", s.name)
		}
	}
}
