package registrytest

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/resource"
)

const (
	factoryContract = "package resource, Factory"
	appContract     = "package resource, App"
)

var factoryRules = func() []rule {
	rules := []rule{
		{name: "make", text: "Make makes a working app of a file, each time it is asked", where: factoryContract, check: factoryMakes},
		{name: "methods", text: "Methods are those that the handler understands; GET includes HEAD", where: appContract, check: factoryMethods},
		{name: "path info", text: "with PathInfo the URL may go on behind the file", where: appContract, check: factoryPathInfo},
		{name: "vanished", text: "a file that can't be read is an error of Make, or of the request", where: factoryContract, check: factoryVanished},
		{name: "concurrent make", text: "a factory is safe for concurrent use", where: factoryContract, check: factoryConcurrent},
	}
	for _, c := range common {
		rules = append(rules, rule{c.name, c.text, c.where, false, func(k *kit) error {
			s, err := k.site()
			if err != nil {
				return err
			}
			app, err := s.make(k)
			if err != nil {
				return err
			}
			return c.check(k, s.finds(app, ""), s.url(), app.Methods)
		}})
	}
	return rules
}()

var fileKept = rule{
	name:  "file kept",
	text:  "a File is shared by all requests for it, and never changed",
	where: "package resource, File",
}

// site is a folder with the files of a case, and a factory.
type site struct {
	factory resource.Factory
	file    *resource.File
	copy    resource.File
	dir     string
}

func (k *kit) site() (*site, error) {
	if k.path == "" {
		return nil, errors.New("run needs a Case with Files, and with Path when there is more than one")
	}
	factory, err := product[resource.Factory](k)
	if err != nil {
		return nil, err
	}
	dir := k.t.TempDir()
	for name, content := range k.files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return nil, err
		}
		if strings.HasPrefix(content, "#!") {
			if err := os.Chmod(name, 0o700); err != nil {
				return nil, err
			}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	k.last(root.Close)
	info, err := root.Stat(k.path)
	if err != nil {
		return nil, err
	}
	kind := mime.TypeByExtension(path.Ext(k.path))
	if kind == "" {
		kind = "application/octet-stream"
	}
	s := &site{factory: factory, dir: dir, file: &resource.File{
		FS: root.FS(), Name: k.path, Info: info, Root: dir, Type: kind,
		Hidden: func(name string) bool { return strings.HasPrefix(path.Base(name), ".") },
	}}
	s.copy = *s.file
	return s, nil
}

func (s *site) url() string { return "/" + s.file.Name }

// make makes an app of the file.
func (s *site) make(k *kit) (resource.App, error) {
	var app resource.App
	err := k.within("Make", func(context.Context) (err error) {
		app, err = s.factory.Make(s.file)
		return err
	})
	was, is := s.copy, *s.file
	was.Hidden, is.Hidden = nil, nil // functions can't be compared
	if !reflect.DeepEqual(was, is) {
		k.fault(&fileKept, fmt.Errorf("a file that was %+v\n\tis now %+v", was, is))
	}
	if err == nil && app.Handler == nil {
		err = errors.New("it made an App without a Handler")
	}
	if err != nil {
		return app, fmt.Errorf("Make(%s): %w", s.file.Name, err)
	}
	return app, nil
}

// finds returns the handler as a finder calls it.
func (s *site) finds(app resource.App, pathInfo string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource.Key.Set(r, &resource.Match{File: s.file, ScriptName: s.url(), PathInfo: pathInfo})
		app.Handler.ServeHTTP(w, r)
	})
}

// answers returns an error when the app answers with one.
func (s *site) answers(k *kit, app resource.App, method, pathInfo string) (*answer, error) {
	h, err := k.serve(s.finds(app, pathInfo))
	if err != nil {
		return nil, err
	}
	var a *answer
	err = k.within("the exchange", func(ctx context.Context) (err error) {
		a, err = h.get(ctx, protocols[0], method, s.url()+pathInfo)
		return err
	})
	if err = errors.Join(err, h.quiet()); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, s.url()+pathInfo, err)
	}
	if a.status >= 500 {
		return nil, fmt.Errorf("%s %s is answered with the status %d: %s", method, s.url()+pathInfo, a.status, short(a.body))
	}
	return a, nil
}

func factoryMakes(k *kit) error {
	s, err := k.site()
	if err != nil {
		return err
	}
	for range 2 {
		app, err := s.make(k)
		if err != nil {
			return err
		}
		for range 2 {
			if _, err := s.answers(k, app, simple(app.Methods), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

func factoryMethods(k *kit) error {
	s, err := k.site()
	if err != nil {
		return err
	}
	app, err := s.make(k)
	if err != nil {
		return err
	}
	methods := app.Methods
	if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
		methods = append(slices.Clone(methods), http.MethodHead)
	}
	for i, method := range methods {
		if method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" || slices.Contains(methods[:i], method) {
			return fmt.Errorf("the App's Methods are %q; they must be method names, each once", app.Methods)
		}
		if method == http.MethodConnect {
			continue // its URL has no path
		}
		a, err := s.answers(k, app, method, "")
		if err != nil {
			return err
		}
		if a.status == http.StatusMethodNotAllowed {
			return fmt.Errorf("%s is among its Methods, and answered with the status %d", method, a.status)
		}
	}
	return nil
}

func factoryPathInfo(k *kit) error {
	s, err := k.site()
	if err != nil {
		return err
	}
	app, err := s.make(k)
	if err != nil || !app.PathInfo {
		return err
	}
	for _, info := range []string{"/", "/more/behind/it"} {
		if _, err := s.answers(k, app, simple(app.Methods), info); err != nil {
			return err
		}
	}
	return nil
}

// factoryVanished takes the file away. An app may have kept what it needs.
func factoryVanished(k *kit) error {
	s, err := k.site()
	if err != nil {
		return err
	}
	app, err := s.make(k)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, filepath.FromSlash(s.file.Name))); err != nil {
		return err
	}
	late, err := s.make(k)
	apps := []resource.App{app, late}
	if err != nil {
		_, panicked := errors.AsType[*panicError](err)
		if _, hangs := errors.AsType[*lateError](err); panicked || hangs {
			return err
		}
		apps = apps[:1]
	}
	for _, app := range apps {
		h, err := k.serve(s.finds(app, ""))
		if err != nil {
			return err
		}
		err = k.within("the exchange", func(ctx context.Context) error {
			a, err := h.get(ctx, protocols[0], simple(app.Methods), s.url())
			if err == nil && a.status == http.StatusOK && a.body == "" {
				return errors.New("a file that is gone is answered with an empty 200")
			}
			return nil // whatever else becomes of it
		})
		if err := errors.Join(err, h.bugs()); err != nil {
			return err
		}
	}
	return nil
}

func factoryConcurrent(k *kit) error {
	s, err := k.site()
	if err != nil {
		return err
	}
	return k.together("Make", func(context.Context, int) error {
		app, err := s.factory.Make(s.file)
		if err == nil && app.Handler == nil {
			err = errors.New("it made an App without a Handler")
		}
		return err
	})
}
