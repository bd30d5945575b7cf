package template_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stackd/stackd/components/factories/template"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, template.Component,
		registrytest.Case[template.Config]{
			Name:  "alone",
			Files: map[string]string{"hello.html": `<h1>{{.Path}}</h1>{{.Form.Get "name"}}`},
		},
		registrytest.Case[template.Config]{
			Name: "in a layout",
			Settings: func(t *testing.T) template.Config {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "base.html"), []byte(`<main>{{block "main" .}}{{end}}</main>`), 0o600); err != nil {
					t.Fatal(err)
				}
				cfg := template.Component.Default
				cfg.Layouts, cfg.Layout, cfg.PathInfo = registry.Path(dir), "base.html", true
				return cfg
			},
			Files: map[string]string{"hello.html": `{{.PathInfo}}`},
		},
	)
}
