package cmd

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
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
