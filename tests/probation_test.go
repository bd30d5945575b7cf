package tests

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProbationOfWorkers proves that all processes go back when one of them finds too many errors.
func TestProbationOfWorkers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "stack.yaml")
	stack := func(status string) []byte {
		return []byte(`servers: [{use: http, listen: "127.0.0.1:0"}]
processes: 2
reload: {watch_errors: 1h}
stack: [errors, {use: respond, status: ` + status + `, body: x}]
`)
	}
	if err := os.WriteFile(file, stack("200"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, file)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // so that both are asked
	for range 10 {
		s.get(client, "/")
	}
	n := s.seen()
	s.reload(func() { replace(t, file, stack("503")) })
	back := func() bool { return strings.Contains(s.log(), "rollback_to:1") }
	for limit := time.Now().Add(patience); !back() && time.Now().Before(limit); {
		s.get(client, "/")
	}
	s.awaitAfter(n, "the new generation answers with too many errors", func(r record) bool { return r["worker"] != nil })
	// The supervisor's word comes when all of them have gone back.
	s.awaitAfter(n, "generation serves", func(r record) bool {
		trigger, _ := r["trigger"].(string)
		return r["worker"] == nil && r["generation"] == 3.0 && r["rollback_to"] == 1.0 && strings.HasPrefix(trigger, "probation of generation 2: 100.0% ")
	})
	for range 20 {
		if got := s.get(client, "/"); got.status != http.StatusOK {
			t.Fatalf("after going back the status is %d\n%s", got.status, s.log())
		}
	}
}
