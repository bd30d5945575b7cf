package stackfile

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// FuzzLoad loads any bytes. They come to problems that have a place, or to a plan that can be
// explained and built, and the stack answers.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			if part.Name == "stack.yaml" {
				f.Add(part.Data)
			}
		}
	}
	for _, content := range []string{"", "\xff\xfes\x00", "\uFEFF" + goodFile, bomb(3), "servers: [http]\nvars: {\"\\e[31m\": \"\\e[31m\"}\nstack: [{use: errors, show: \"\\e[31m\"}, say]\n", "servers: [http]\nvars: {\"\\e[31m\": \"\\e[31m\"}\nstack: [{use: say, text: \"\\e[31m\"}]\n", random(2000, ""), random(2000, " \n:-[]{}abc&*#'\"|>%,?!0")} {
		f.Add([]byte(content))
	}
	reg := testRegistry(f)
	file := filepath.Join(f.TempDir(), "stack.yaml")
	options := Options{Env: func(string) (string, bool) { return "", false }, Processes: 1}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		inTime(t, func() { _, _, _ = Load(t.Context(), reg, file, options) })
		plan, _, err := Load(t.Context(), reg, file, options)
		_, _, again := Load(t.Context(), reg, file, options)
		if diff := cmp.Diff(texts(t, err), texts(t, again)); diff != "" {
			t.Fatalf("loaded a second time: -first +second\n%s", diff)
		}
		if err != nil {
			return
		}
		stack, err := plan.Build(t.Context(), log, nil)
		if err != nil {
			t.Fatalf("what loads must build here: %v", err)
		}
		defer stack.Close()
		targets := []string{"/", "/a/b", "/admin/users/7", "/x/x"}
		for _, p := range plan.patterns {
			_, example, ok := strings.Cut(p.example(), " ")
			if !ok {
				example = p.example()
			}
			targets = append(targets, example)
		}
		for _, target := range targets[:min(len(targets), 20)] {
			host, path, _ := strings.Cut(target, "/")
			path = "/" + path
			explained := plan.Explain("GET", host, path)
			if explained.String() == "" || len(explained.Slots) == 0 {
				t.Fatalf("%s: nothing is explained", target)
			}
			if strings.ContainsFunc(explained.String(), speaks) {
				t.Fatalf("%s: the explanation would speak to a terminal: %q", target, explained)
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Host, r.URL.Path = host, path
			stack.ServeHTTP(w, r)
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
				t.Fatalf("%s: the status is %d", target, w.Code)
			}
		}
	})
}

// inTime fails when something takes more than two seconds, three times in a row: a machine may be busy. It looks at the
// clock only while a fuzzer looks for such a thing; how much work a load is at most, TestCost tells.
func inTime(t *testing.T, f func()) {
	t.Helper()
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing == nil || fuzzing.Value.String() == "" {
		return
	}
	for range 3 {
		begun := time.Now()
		if f(); time.Since(begun) < 2*time.Second {
			return
		}
	}
	t.Error("it took more than two seconds, each of three times")
}

// texts returns the problems of an error, after a look at each.
func texts(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) == 0 {
		t.Fatalf("the error is a %T; it must be Problems: %v", err, err)
	}
	if !slices.IsSortedFunc(ps, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Fatalf("the problems are in no order:\n%v", ps)
	}
	lines := make([]string, len(ps))
	for i, p := range ps {
		if p.Line < 1 || p.Column < 1 || p.Text == "" {
			t.Fatalf("the problem has no place or text: %#v", p)
		}
		lines[i] = p.String() + "\n" + p.Excerpt()
		if strings.ContainsFunc(lines[i], speaks) {
			t.Fatalf("the problem would speak to a terminal: %q", lines[i])
		}
	}
	return lines
}

// speaks reports whether a terminal takes r for an order.
func speaks(r rune) bool { return unicode.IsControl(r) && r != '\n' }

func TestLoadIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the time is over"))
	plan, files, err := Load(ctx, testRegistry(t), bigFile(t, 1000), Options{})
	if plan != nil || len(files) != 1 || err == nil || !strings.Contains(err.Error(), "the load was given up: the time is over") {
		t.Errorf("the load came to the plan %v, files %q and error %v", plan, files, err)
	}
}
