package schema_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// A stack file to begin with loads, whatever it is made of, and has every setting.
func TestSkeleton(t *testing.T) {
	reg := registry.Compiled()
	rest := []*registry.Definition{
		reg.Lookup(registry.KindServer, "http"), reg.Lookup(registry.KindMiddleware, "session"), reg.Lookup(registry.KindApp, "respond"),
	}
	for _, d := range reg.All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			chosen := []*registry.Definition{d}
			stands := d
			if host := schema.Host(reg, d.Kind); host != nil {
				chosen, stands = append(chosen, host), host
			}
			for _, other := range rest {
				if other.Kind != stands.Kind {
					chosen = append(chosen, other)
				}
			}
			text := schema.Skeleton(reg, chosen)
			file := filepath.Join(t.TempDir(), "stack.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := stackfile.Load(t.Context(), reg, file, stackfile.Options{}); err != nil {
				t.Errorf("it doesn't load: %v\n%s", err, text)
			}
			if !strings.Contains(text, "use: "+d.Name+"\n") {
				t.Errorf("%s isn't in it:\n%s", d.Name, text)
			}
			for _, f := range d.Settings.Fields {
				written := regexp.MustCompile(`(?m)^ {4,}#?` + f.Name + ":")
				if !written.MatchString(text) {
					t.Errorf("the setting %s isn't in it:\n%s", f.Name, text)
				}
			}
		})
	}
}
