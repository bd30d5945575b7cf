package cmd

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// TestProbation proves that a stack file with which everything fails is given up again, and that its next change counts.
func TestProbation(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	stack := func(status string) string {
		return `servers: [{use: http, listen: "127.0.0.1:0"}]
reload: {watch_errors: 1h, threshold: 5%}
stack: [errors, {use: respond, status: ` + status + `, body: x}]
`
	}
	if err := os.WriteFile(file, []byte(stack("200")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, file)
	url := "http://" + r.await("listening")["bound"].(string) + "/"
	r.await("generation serves")
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	ask := func(n, want int) {
		t.Helper()
		for range n {
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != want {
				t.Fatalf("got %s, want %d", response.Status, want)
			}
		}
	}
	ask(30, 200)
	r.save(stack("503"))
	r.await("generation serves")
	ask(20, 503)
	record := r.await("the new generation answers with too many errors")
	if record["errors"] != "100.0% (20 of 20)" || record["errors_before"] != "0.0% (0 of 30)" || record["level"] != "ERROR" {
		t.Errorf("the log says %v", record)
	}
	record = r.await("generation serves")
	if record["generation"] != 3.0 || record["rollback_to"] != 1.0 {
		t.Errorf("the log says %v", record)
	}
	ask(30, 200)
	client.CloseIdleConnections()
	status, err := control.New(filepath.Join(dir, ".stack.yaml.sock")).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := statusText(status, time.Now())
	for _, want := range []string{"(probation of generation 2: 100.0% (20 of 20) of its answers", "rolled back to generation 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the status has no %q:\n%s", want, text)
		}
	}
	if saved, err := os.ReadFile(file); err != nil || string(saved) != stack("503") {
		t.Errorf("the file on disk is %s, %v", saved, err)
	}
	// The next change is a reload again, and it is judged by those that serve.
	r.save(stack("500"))
	r.await("generation serves")
	ask(20, 500)
	r.await("the new generation answers with too many errors")
	r.await("generation serves")
	r.save(stack("201"))
	if record := r.await("generation serves"); record["generation"] != 6.0 || record["rollback_to"] != nil {
		t.Errorf("the log says %v", record)
	}
	ask(1, 201)
	r.cancel()
	for range r.records {
		continue
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}
