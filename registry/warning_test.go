package registry_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
)

type pageConfig struct {
	Root registry.Path `yaml:"root"`
	Raw  bool          `yaml:"unsafe_raw"`
}

func (c pageConfig) Warnings(site registry.Site) []registry.Warning {
	var found []registry.Warning
	if c.Raw {
		found = append(found, registry.Warning{Concern: registry.Unsafe, Setting: "unsafe_raw", Problem: "is true"})
	}
	if site.Clear {
		found = append(found, registry.Warning{Concern: registry.Clear, Setting: "root", Problem: "is sent in clear"})
	}
	return found
}

func (c pageConfig) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Folder("root", string(c.Root))}
}

func TestAdvice(t *testing.T) {
	traits := registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}
	reg, err := registry.New(
		registry.App[pageConfig]{Name: "page", Default: pageConfig{Raw: true}, Traits: traits, Build: func(*registry.Env, pageConfig) (http.Handler, error) { return http.NotFoundHandler(), nil }},
		registry.App[struct{}]{Name: "quiet", Traits: traits, Build: func(*registry.Env, struct{}) (http.Handler, error) { return http.NotFoundHandler(), nil }},
	)
	if err != nil {
		t.Fatal(err)
	}
	page, quiet := reg.Lookup(registry.KindApp, "page"), reg.Lookup(registry.KindApp, "quiet")
	want := []registry.Warning{{Concern: registry.Unsafe, Setting: "unsafe_raw", Problem: "is true"}}
	if diff := cmp.Diff(want, page.Warnings(page.Default(), registry.Site{})); diff != "" {
		t.Error(diff)
	}
	if got := page.Warnings(page.Default(), registry.Site{Public: true, Clear: true}); len(got) != 2 {
		t.Errorf("on a public server it warns of %v", got)
	}
	if got := page.Expects(page.Default()); len(got) != 1 || got[0].Setting != "root" {
		t.Errorf("it expects %v", got)
	}
	if len(quiet.Warnings(quiet.Default(), registry.Site{Public: true})) > 0 || len(quiet.Expects(quiet.Default())) > 0 {
		t.Error("settings without methods say something")
	}
}

func TestAddressPublic(t *testing.T) {
	for address, want := range map[registry.Address]bool{
		"127.0.0.1:80":          false,
		"127.1.2.3:80":          false,
		"[::1]:80":              false,
		"[::ffff:127.0.0.1]:80": false,
		"localhost:80":          false,
		"LocalHost:80":          false,
		"unix:run/x.sock":       false,
		"nonsense":              false,
		":80":                   true,
		"0.0.0.0:80":            true,
		"[::]:80":               true,
		"10.0.0.1:80":           true,
		"www.example.org:443":   true,
	} {
		t.Run(string(address), func(t *testing.T) {
			if got := address.Public(); got != want {
				t.Errorf("public: %v, want %v", got, want)
			}
		})
	}
}
