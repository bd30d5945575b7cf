package stackfile

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

// TestSecretsStayUnseen puts a secret into every place of a file where a secret may be,
// together with faults of all kinds around it, and looks for it in all that is shown.
func TestSecretsStayUnseen(t *testing.T) {
	const marker = "hunter2marker"
	values := map[string]string{
		"plain":         marker,
		"single quotes": "'" + marker + "'",
		"double quotes": `"` + marker + `, \"}"`,
		"expanded":      "${env:PW}",
		"from a file":   "${file:pw}",
		"half expanded": "${env:PW}-${env:MISSING}-" + marker,
		"no quote":      `"` + marker,
		"a list":        "[" + marker + "]",
		"a map":         "{a: " + marker + "}",
		"a tag":         "!!str " + marker,
		"an anchor":     "&pw " + marker,
		"a colon":       marker + ": " + marker,
	}
	files := map[string]string{
		"fine":               "servers: [http]\nstack:\n  - {use: session, store: {use: file, password: %s}}\n  - say\n",
		"below":              "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n      password: %s\n  - say\n",
		"next line":          "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n      password:\n        %s\n  - say\n",
		"block scalar":       "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n      pth: x\n      password: |\n        %s\n  - say\n",
		"a tab within":       "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n      password: |\n        a\n      \t%s\n  - say\n",
		"misspelt beside":    "servers: [http]\nstack:\n  - {use: session, store: {pasword: x, use: file, password: %s, pth: x}, lifetme: 1}\n  - say\n",
		"unknown component":  "servers: [http]\nstack:\n  - {use: sesion, store: {use: file, password: %s}}\n  - say\n",
		"unknown store":      "servers: [http]\nstack:\n  - {use: session, store: {use: fil, password: %s}}\n  - say\n",
		"wrong store":        "servers: [http]\nstack:\n  - {use: session, store: {use: memory, password: %s}}\n  - say\n",
		"wrong level":        "servers: [http]\nstack:\n  - {use: session, password: %s}\n  - say\n",
		"wrong entry":        "servers: [http]\nstack: [say]\nsession: {store: {use: file, password: %s}}\n",
		"no space":           "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n      password:%s\n  - say\n",
		"no spaces":          "servers: [http]\nstack:\n  - use: session\n    store:\n      use:file\n      password:%s\n  - say\n",
		"entry without dash": "servers: [http]\nstack:\n  password:%s\n",
		"not closed":         "servers: [http]\nstack:\n  - {use: session, store: {use: file, password: %s\n  - say\n",
		"indented badly":     "servers: [http]\nstack:\n  - use: session\n    store:\n      use: file\n       password: %s\n  - say\n",
		"twice":              "servers: [http]\nstack:\n  - {use: session, store: {use: file, password: %[1]s, password: %[1]s}}\n  - say\n",
		"override":           "servers: [http]\nstack:\n  - {use: session, store: file}\n  - say\nurls:\n  /a/: {session: {store: {password: %s}}}\n",
		"bad override":       "servers: [http]\nstack: [session, say]\nurls:\n  /a/: {session: {store: {password: %s}}, sesion: off}\n  a: {session: {store: {password: x}}}\n",
		"conflict":           "servers: [http]\nstack:\n  - {use: session, store: file}\n  - say\nurls:\n  \"/{a}/x\": {session: {store: {password: %s}}}\n  \"/x/{a}\": {session: {store: {password: other}}}\n",
		"conflict in a map":  "servers: [http]\nstack: [{use: site, root: a}]\nurls:\n  \"/{a}/x\": {site: {factories: {a: {use: session, store: {use: file, password: %s}}}}}\n  \"/x/{a}\": {site: {factories: {a: {use: session, store: {use: file, password: other}}}}}\n",
		"inside a map":       "servers: [http]\nstack:\n  - use: site\n    root: a\n    factories: {.a: {use: session, store: {use: file, password: %s}}, .b: tagg}\n",
		"by an alias":        "servers: [http]\nvars: {mine: &mine %s}\nstack:\n  - {use: session, store: {use: file, password: *mine, path: {}}}\n  - say\n",
	}
	reg := testRegistry(t)
	shown, loaded := 0, 0
	for name, file := range files {
		for kind, value := range values {
			if name == "by an alias" && !slices.Contains([]string{"plain", "single quotes", "double quotes", "expanded", "from a file", "a list", "a map"}, kind) {
				continue // YAML can't tell what it is an alias of
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "stack.yaml")
				write(t, path, fmt.Sprintf(file, value))
				write(t, filepath.Join(dir, "pw"), marker)
				plan, _, err := Load(t.Context(), reg, path, Options{Env: func(name string) (string, bool) { return marker, name == "PW" }})
				var out string
				if err != nil {
					out = fmt.Sprintf("%v %+v %#v\n", err, err, err)
					for _, p := range err.(Problems) { //nolint:errorlint // looked at as it is
						out += p.Excerpt()
					}
					shown++
				} else {
					for _, path := range []string{"/", "/a/", "/x/x"} {
						e := plan.Explain("GET", "", path)
						out += fmt.Sprintf("%v %#v\n", e, e)
					}
					loaded++
				}
				if strings.Contains(out, marker) {
					t.Errorf("the secret is shown:\n%s", out)
				}
			})
		}
	}
	if shown < 100 || loaded < 20 {
		t.Errorf("%d files showed problems and %d loaded; the test must see many of both", shown, loaded)
	}
}

// TestSecretLikeMark reads secrets that look like what stands for them.
func TestSecretLikeMark(t *testing.T) {
	for _, secret := range []string{"redacted", "[redacted]", "[red", "acted]", "a[redacted]", "[redacted]a", "[redacted][redacted]"} {
		t.Run(secret, func(t *testing.T) {
			_, ps := loadText(t, fmt.Sprintf("servers: [http]\nstack: [{use: session, store: {use: file, password: '%s', pth: x}}, say]\n", secret))
			if len(ps) != 1 {
				t.Fatalf("the problems are %v", ps)
			}
			if want := "stack: [{use: session, store: {use: file, password: [redacted], pth: x}}, say]"; ps[0].Source != want && ps[0].Source != strings.Replace(want, "[redacted]", "'[redacted]'", 1) {
				t.Errorf("the line is\n%s", ps[0].Source)
			}
			marks(t, ps[0], "pth: x}")
		})
	}
}

// TestQuote quotes lines that are too long to be quoted whole.
func TestQuote(t *testing.T) {
	far := strings.Repeat("ü", longestQuote)
	for _, test := range []struct{ name, before, value, after string }{
		{"near", "", "hunter2marker", ""},
		{"far behind", far, "hunter2marker", ""},
		{"far before", "", "hunter2marker", far},
		{"in the middle", far, "hunter2marker", far},
		{"over the edge", "", "hunter2marker", strings.Repeat("x", longestQuote/2-5)},
		{"longer than a quote", "", strings.Repeat("hunter2marker", longestQuote/4), ""},
		{"longer than a quote, at the edge", far, strings.Repeat("hunter2marker", longestQuote/4), strings.Repeat("x", longestQuote/2-5)},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, ps := loadText(t, fmt.Sprintf("servers: [http]\nstack: [{use: tag, text: %q}, {use: session, store: {use: file, password: %s, path: %[3]q, pth: x}}, {use: say, text: %[1]q}]\n", test.before, test.value, "x"+test.after))
			if len(ps) != 1 {
				t.Fatalf("the problems are %v", ps)
			}
			p := ps[0]
			if strings.Contains(p.Source, "hunter") || strings.Contains(p.Source, "marker") {
				t.Errorf("the secret is shown:\n%s", p.Source)
			}
			if len(p.Source) > 2*longestQuote {
				t.Errorf("%d bytes are quoted", len(p.Source))
			}
			marks(t, p, "pth: x}")
		})
	}
}

// marks checks that the excerpt of a problem has its mark below a text.
func marks(t *testing.T, p Problem, text string) {
	t.Helper()
	line, caret, _ := strings.Cut(p.Excerpt(), "\n")
	if at := strings.Index(caret, "^"); at < 0 || !strings.HasPrefix(string([]rune(line)[at:]), text) {
		t.Errorf("the mark is at another place:\n%s", p.Excerpt())
	}
}

// TestSecretsOfBuild has a component fail on a line with secrets, one of which it tells.
func TestSecretsOfBuild(t *testing.T) {
	reg, err := registry.New(append(corpus(), registry.Store[fileStoreConfig]{
		Name: "closed", Default: fileStoreConfig{Path: "x"}, Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
		Build: func(_ *registry.Env, c fileStoreConfig) (session.Store, error) {
			return nil, fmt.Errorf("it is closed for %s", c.Password.Reveal())
		},
	})...)
	if err != nil {
		t.Fatal(err)
	}
	plan := loaded(t, reg, "servers: [http]\nstack: [{use: session, store: {use: closed, password: hunter2marker}}, say]\n")
	_, err = plan.Build(t.Context(), slog.New(slog.DiscardHandler), nil)
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) != 1 {
		t.Fatalf("the error is %v", err)
	}
	if shown := ps[0].String() + "\n" + ps[0].Excerpt(); strings.Contains(shown, "hunter2marker") || strings.Count(shown, redacted) != 2 {
		t.Errorf("it is shown as\n%s", shown)
	}
}
