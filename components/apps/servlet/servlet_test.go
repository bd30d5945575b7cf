package servlet

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/servlet"
)

// where is a servlet that says what its URL is.
type where struct{}

func (where) Get(w http.ResponseWriter, r *http.Request) error {
	_, err := fmt.Fprintln(w, servlet.PathInfo(r))
	return err
}

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{Settings: func(t *testing.T) Config {
		s, err := servlet.New(where{})
		if err != nil {
			t.Fatal(err)
		}
		return Config{Servlet: registry.Bound(s)}
	}})
}
