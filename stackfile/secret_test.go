package stackfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
