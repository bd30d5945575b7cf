package registrytest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/stackd/stackd/registry/servlet"
)

const servletContract = "package servlet"

var servletRules = func() []rule {
	rules := []rule{
		{name: "methods", text: "each method in Allow is answered, with an empty body, too", where: servletContract + ", Methods", check: servletMethods},
		{name: "params", text: "a call with other params than a procedure takes is no failure", where: servletContract + ", Procedure", check: servletParams},
	}
	for _, c := range common {
		rules = append(rules, rule{c.name, c.text, c.where, false, func(k *kit) error { return withApp(k, c.check) }})
	}
	return rules
}()

// servlet makes a servlet and a host for it.
func (k *kit) servlet() (*servlet.Servlet, *host, error) {
	s, err := product[*servlet.Servlet](k)
	if err != nil {
		return nil, nil, err
	}
	h, err := k.serve(s)
	return s, h, err
}

func servletMethods(k *kit) error {
	_, h, err := k.servlet()
	if err != nil {
		return err
	}
	path := cmp.Or(k.path, "/")
	return k.within("the exchange", func(ctx context.Context) error {
		options, err := h.get(ctx, protocols[0], http.MethodOptions, path)
		if err != nil {
			return err
		}
		for method := range strings.SplitSeq(options.header.Get("Allow"), ",") {
			method = strings.TrimSpace(method)
			if method == "" {
				continue
			}
			a, err := h.get(ctx, protocols[0], method, path)
			if err != nil {
				return err
			}
			if a.status == http.StatusMethodNotAllowed || a.status >= 500 {
				return fmt.Errorf("%s is in Allow, and answered with the status %d: %s", method, a.status, short(a.body))
			}
		}
		return h.quiet()
	})
}

// oddParams are params that hardly any procedure takes all of.
var oddParams = []string{
	`[]`, `{}`, `[null]`, `[null, null, null]`, `[-1]`, `[1e300]`, `[""]`, `["\u0000../"]`, `[true]`, `[[]]`, `[{}]`, `{"": null}`, `[1, 2, 3, 4, 5, 6, 7, 8, 9]`,
}

func servletParams(k *kit) error {
	s, h, err := k.servlet()
	if err != nil {
		return err
	}
	return k.within("the calls", func(ctx context.Context) error {
		for _, name := range s.Procedures() {
			for _, params := range oddParams {
				call := fmt.Sprintf(`{"jsonrpc": "2.0", "method": %q, "params": %s, "id": 1}`, name, params)
				r, err := h.request(ctx, http.MethodPost, cmp.Or(k.path, "/"), strings.NewReader(call))
				if err != nil {
					return err
				}
				r.Header.Set("Content-Type", "application/json")
				a, err := h.do(protocols[0], r)
				if err == nil && !json.Valid([]byte(a.body)) {
					err = fmt.Errorf("it is answered with the status %d and no JSON: %s", a.status, short(a.body))
				}
				if err == nil {
					err = h.quiet()
				}
				if err != nil {
					return fmt.Errorf("calling %s with %s: %w", name, params, err)
				}
			}
		}
		return nil
	})
}
