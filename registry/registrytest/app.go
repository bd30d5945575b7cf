package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// appCheck is a check of an app that answers at a path with these methods, empty for any.
type appCheck func(k *kit, h http.Handler, path string, methods []string) error

// common are the rules of every handler, whoever made it.
var common = []struct {
	name, text, where string
	check             appCheck
}{
	{"concurrent", "requests run concurrently, and the same question gets the same kind of answer", mustKeepTo, appConcurrent},
	{"head", "the answer to HEAD has the status and headers of GET's, and no body", "RFC 9110, 9.3.2", appHead},
	{"context", "a request whose context has ended doesn't wait", mustKeepTo, appContext},
	{"client gone", "a handler ends when the client goes away amid the request", mustKeepTo, appClientGone},
}

var appRules = func() []rule {
	rules := []rule{{
		name:  "unknown",
		text:  "an app that has nothing for a URL answers 404, never an empty 200",
		where: mustKeepTo,
		check: func(k *kit) error { return withApp(k, appUnknown) },
	}}
	for _, c := range common {
		rules = append(rules, rule{c.name, c.text, c.where, false, func(k *kit) error { return withApp(k, c.check) }})
	}
	return rules
}()

func withApp(k *kit, check appCheck) error {
	h, err := product[http.Handler](k)
	if err != nil {
		return err
	}
	path := k.path
	if path == "" {
		path = "/"
	}
	return check(k, h, path, nil)
}

func appConcurrent(k *kit, app http.Handler, path string, methods []string) error {
	h, err := k.serve(app)
	if err != nil {
		return err
	}
	statuses := make([]int, concurrency)
	err = k.together("the exchange", func(ctx context.Context, i int) error {
		a, err := h.get(ctx, protocols[i%2], simple(methods), path)
		if err != nil {
			return err
		}
		statuses[i] = a.status
		if a.status >= 500 {
			return fmt.Errorf("%s is answered with the status %d: %s", path, a.status, short(a.body))
		}
		return nil
	})
	for _, status := range statuses {
		if err == nil && status != statuses[0] {
			err = fmt.Errorf("%s is answered with the status %d, and with %d", path, statuses[0], status)
		}
	}
	return errors.Join(err, h.quiet())
}

// simple returns GET, or another method when that isn't understood.
func simple(methods []string) string {
	if len(methods) == 0 {
		return http.MethodGet
	}
	for _, m := range methods {
		if m == http.MethodGet {
			return m
		}
	}
	return methods[0]
}

func appHead(k *kit, app http.Handler, path string, methods []string) error {
	if simple(methods) != http.MethodGet {
		return nil
	}
	h, err := k.serve(app)
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		for _, protocol := range protocols {
			get, err := h.get(ctx, protocol, http.MethodGet, path)
			if err != nil {
				return fmt.Errorf("GET over %s: %w", protocol, err)
			}
			head, err := h.get(ctx, protocol, http.MethodHead, path)
			if err != nil {
				return fmt.Errorf("HEAD over %s: %w", protocol, err)
			}
			if get.status == http.StatusMethodNotAllowed {
				return nil
			}
			if head.status != get.status {
				return fmt.Errorf("over %s: the status of HEAD is %d, of GET %d", protocol, head.status, get.status)
			}
			for _, name := range []string{"Content-Type", "Content-Encoding", "Etag", "Last-Modified", "Location", "Cache-Control", "Vary"} {
				if g, h := get.header.Get(name), head.header.Get(name); g != h {
					return fmt.Errorf("over %s: %s of HEAD is %q, of GET %q", protocol, name, h, g)
				}
			}
			// It may be left out, but not be wrong.
			if g, h := get.header.Get("Content-Length"), head.header.Get("Content-Length"); g != "" && h != "" && g != h {
				return fmt.Errorf("over %s: Content-Length of HEAD is %s, of GET %s", protocol, h, g)
			}
		}
		return h.quiet()
	})
}

func appUnknown(k *kit, app http.Handler, path string, _ []string) error {
	h, err := k.serve(app)
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		known, err := h.get(ctx, protocols[0], http.MethodGet, path)
		if err != nil {
			return err
		}
		const nowhere = "/registrytest/no/such/page"
		unknown, err := h.get(ctx, protocols[0], http.MethodGet, nowhere)
		if err != nil {
			return err
		}
		// Some answer everything alike, with nothing when they are told so.
		empty := func(a *answer) bool { return a.status == http.StatusOK && a.body == "" }
		if empty(unknown) && !empty(known) {
			return fmt.Errorf("%s is answered with an empty 200", nowhere)
		}
		return nil
	})
}

func appContext(k *kit, app http.Handler, path string, _ []string) error {
	return k.ends(func(ctx context.Context) error { return k.direct(ctx, app, path) })
}

func appClientGone(k *kit, app http.Handler, path string, methods []string) error {
	h, err := k.serve(app)
	if err != nil {
		return err
	}
	method := http.MethodPost
	if len(methods) > 0 {
		method = methods[len(methods)-1]
	}
	err = k.within("the exchange", func(ctx context.Context) error {
		// Half of the body is sent, and then the connection closed.
		const size = 1000
		r, err := h.request(ctx, method, path, strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			return err
		}
		var whole bytes.Buffer
		if err := r.Write(&whole); err != nil {
			return err
		}
		conn, _, done, err := h.dial(ctx)
		if err != nil {
			return err
		}
		defer done()
		if _, err := conn.Write(whole.Bytes()[:whole.Len()-size/2]); err != nil {
			return err
		}
		return eventually(k.patience, func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.begun == 0 {
				return errors.New("the request doesn't reach the handler")
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return errors.Join(eventually(k.patience, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.ended < h.begun {
			return errors.New("the client went away amid the body, and the handler didn't return")
		}
		return nil
	}), h.bugs())
}

// bugs returns an error when a panic reached the root that isn't the one which cuts a connection.
func (s *host) bugs() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.panics {
		if p != any(http.ErrAbortHandler) {
			return fmt.Errorf("it panicked: %v", p)
		}
	}
	return nil
}
