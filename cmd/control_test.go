package cmd

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry"
)

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	s := control.Status{
		PID: 7, Started: now.Add(-time.Hour),
		Generations: []control.Generation{{Number: 2, Since: now.Add(-time.Minute), Trigger: "start", Requests: 3}},
		Refused:     &control.Refused{At: now.Add(-2 * time.Second), Trigger: "/srv/\x1b[31m/stack.yaml", Text: "stack.yaml has a problem\nand more"},
		Zombies:     1,
		Requests: []control.Request{
			{Generation: 1, Method: "GET", Host: "example.org", Path: "/hangs", Age: time.Minute, Slot: "finder", State: control.Zombie},
			{Generation: 2, Method: "POST", Host: "example.org", Path: "/" + strings.Repeat("long/", 20), Age: time.Second, Slot: "pool", State: control.Waits},
			{Generation: 2, Method: "GET", Host: "example.org", Path: "/inner", Age: time.Second, Slot: "blog.stack/shop.stack/session"},
			{Generation: 2, Method: "GET", Host: "example.org", Path: "/new", Age: time.Millisecond},
		},
	}
	const want = `process 7 serves, up 1h0m0s
generation 2 serves 3 requests, began 1m0s ago (start)
the last reload, 2s ago (/srv/�[31m/stack.yaml), was refused: stack.yaml has a
  problem; and more
1 zombie: answered without the handlers, which go on running
    1m0s    1  GET     finder zombie            example.org/hangs
      1s    2  POST    pool waits               example.org/long/long/long/long…
      1s    2  GET     blog.stack/shop.stack/s… example.org/inner
     1ms    2  GET                              example.org/new
`
	got := statusText(s, now)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestRefusedByWhatStops holds that nobody is told that a process serves on which is about to end.
func TestRefusedByWhatStops(t *testing.T) {
	release := make(chan struct{})
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte("servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [stuck]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runWith(t, withStuck(t, release), file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")
	socket := filepath.Join(dir, ".stack.yaml.sock")
	answered := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + address)
		if err == nil {
			err = response.Body.Close()
		}
		answered <- err
	}()
	for busy := false; !busy; {
		s, err := control.New(socket).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		busy = len(s.Requests) > 0
	}
	r.cancel()
	r.await("stopping")
	var said strings.Builder
	p := &program{registry: registry.Compiled(), out: &output{Writer: &said}, err: &output{Writer: &said}}
	c := p.root()
	c.SetArgs([]string{"reload", "--socket", socket})
	if err := c.ExecuteContext(t.Context()); err == nil {
		t.Error("the reload was no error")
	}
	if want := "stackd: the process is stopping\n"; said.String() != want {
		t.Errorf("it says %q, want %q", said.String(), want)
	}
	close(release)
	for range r.records {
		continue
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// TestClientPassesOverWhatIsLeft holds that a socket which a stackd that was killed has left doesn't hide the one of another that
// may not write beside the stack file.
func TestClientPassesOverWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte("servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, body: x}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	places := socketsOf(file)
	listen := func(path string) *net.UnixListener {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	left := listen(places[0])
	left.SetUnlinkOnClose(false)
	left.Close()
	p := &program{registry: registry.Compiled(), out: &output{}, err: &output{}}
	socket := func() string {
		t.Helper()
		c, err := p.client(t.Context(), file, "")
		if err != nil {
			t.Fatal(err)
		}
		return c.Socket()
	}
	if got := socket(); got != places[0] { // and asking there says what it is
		t.Errorf("with nothing else the socket is %s, want %s", got, places[0])
	}
	listen(places[1])
	if got := socket(); got != places[1] {
		t.Errorf("the socket is %s, want %s", got, places[1])
	}
}
