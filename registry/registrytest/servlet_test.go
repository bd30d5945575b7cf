package registrytest

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/servlet"
)

func TestBrokenServlet(t *testing.T) {
	tryBroken(t, servletRules, []broken{
		{"fails without a body", []string{"methods"}, breaking(servletOf(&addition{post: func(_ http.ResponseWriter, r *http.Request) error {
			if r.ContentLength == 0 {
				return errors.New("no body")
			}
			return nil
		}}))},
		{"panics at few params", []string{"params"}, breaking(servletOf(&addition{sum: func(numbers []float64) (float64, error) {
			return numbers[0], nil
		}}))},
		{"result that JSON doesn't have", []string{"params"}, breaking(servletOf(&addition{sum: func([]float64) (float64, error) {
			return math.Inf(1), nil
		}}))},
		{"HEAD with another type", []string{"head"}, breaking(servletOf(&addition{get: func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/"+strings.ToLower(r.Method))
			return nil
		}}))},
		{"another answer for the second", []string{"concurrent"}, func(t *testing.T) *subject {
			return breaking(component(func(*registry.Env, options) (*servlet.Servlet, error) {
				var n atomic.Int64
				return servlet.New(&addition{get: func(w http.ResponseWriter, _ *http.Request) error {
					if n.Add(1) > concurrency/2 {
						w.WriteHeader(http.StatusNotFound)
					}
					return nil
				}})
			}))(t)
		}},
		{"waits though the context ended", []string{"client gone", "context", "waits end"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(servletOf(&addition{post: func(w http.ResponseWriter, r *http.Request) error {
				if r.ContentLength != 0 {
					<-stop
				}
				page(w, r)
				return nil
			}}))(t)
		}},
	})
}
