//go:build unix

package cgi_test

import (
	"testing"

	"github.com/stackd/stackd/components/factories/cgi"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, cgi.Component,
		registrytest.Case[cgi.Config]{
			Name:  "script",
			Files: map[string]string{"hello.cgi": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello '; cat\n"},
		},
		registrytest.Case[cgi.Config]{
			Name: "command",
			Settings: func(*testing.T) cgi.Config {
				cfg := cgi.Component.Default
				cfg.Command = []string{"sh", "-c", `printf 'Content-Type: text/plain\n\n'; cat "$SCRIPT_FILENAME"`}
				cfg.MaxProcesses = 4
				return cfg
			},
			Files: map[string]string{"hello.txt": "hello"},
		},
	)
}
