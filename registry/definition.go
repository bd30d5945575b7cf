package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime"
	"strings"

	"github.com/stackd/stackd/registry/inspect"
)

// Declaration is a component as it is declared, of whatever kind and settings: a
// [Component] value. No other type can be one.
type Declaration interface {
	define() (*Definition, error)
}

// Definition is a declared component with its types erased: what a loader, a list or a
// generator works with. It never changes.
type Definition struct {
	Kind Kind
	Name string
	// Package is the import path of the package that declared it.
	Package string
	// Settings describes its settings; its Form is FormStruct.
	Settings *Type
	// Prose is the component's own.
	Prose []byte

	defaults reflect.Value // a C
	traits   Traits
	build    func(env *Env, cfg any) (any, error)
}

func (c Component[C, T]) define() (*Definition, error) {
	d := &Definition{
		Kind:     kindOf(reflect.TypeFor[T]()),
		Name:     c.Name,
		Prose:    c.Prose,
		defaults: reflect.ValueOf(&c.Default).Elem(),
		traits:   c.Traits,
	}
	var ty typer
	if t := reflect.TypeFor[C](); t.Kind() != reflect.Struct {
		ty.faults = append(ty.faults, fmt.Sprintf("its settings are a %s; they must be a struct", t))
	} else {
		d.Settings = ty.typeOf(t, "", true)
	}
	if c.Build == nil {
		ty.faults = append(ty.faults, "it has no Build function")
	} else {
		d.Package = packageOf(reflect.ValueOf(c.Build).Pointer())
		d.build = func(env *Env, cfg any) (any, error) { return c.Build(env, *cfg.(*C)) }
	}
	if d.Kind == "" {
		ty.faults = append(ty.faults, fmt.Sprintf("its Build returns a %s; declare it through the alias of a kind", reflect.TypeFor[T]()))
	}
	if !validName(c.Name) {
		ty.faults = append(ty.faults, fmt.Sprintf("its name is %q; it must be lower case letters, digits and underscores, and begin with a letter", c.Name))
	}
	if c.Traits.Processes != ProcessSafe && c.Traits.Processes != SingleProcess {
		ty.faults = append(ty.faults, "its trait Processes is not stated; it must be ProcessSafe or SingleProcess")
	}
	if c.Traits.Calls != NonBlocking && c.Traits.Calls != Blocking {
		ty.faults = append(ty.faults, "its trait Calls is not stated; it must be NonBlocking or Blocking")
	}
	if c.Prose != nil && !json.Valid(c.Prose) {
		ty.faults = append(ty.faults, "its Prose is no JSON; it must be the prose.json that schema/generate has written")
	}
	if len(ty.faults) > 0 {
		where := d.Package
		if where == "" {
			where = "a component"
		}
		return nil, fmt.Errorf("%s: %s %q: %s", where, d.Kind, c.Name, strings.Join(ty.faults, "; "))
	}
	return d, nil
}

// packageOf returns the import path of the package that a function is in.
func packageOf(pc uintptr) string {
	name := runtime.FuncForPC(pc).Name() // such as example.org/m/pkg.build or example.org/m/pkg.init.func1
	slash := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[slash:], '.'); dot >= 0 {
		name = name[:slash+dot]
	}
	return strings.ReplaceAll(name, "%2e", ".")
}

// Default returns a pointer to a copy of the default settings.
func (d *Definition) Default() any {
	p := reflect.New(d.defaults.Type())
	p.Elem().Set(clone(d.defaults))
	return p.Interface()
}

// Traits returns the promises for these settings, a pointer as [Definition.Default]
// returns it.
func (d *Definition) Traits(cfg any) Traits {
	if own, ok := cfg.(interface{ Traits(t Traits) Traits }); ok {
		return own.Traits(d.traits)
	}
	return d.traits
}

// Find tells what an app with these settings would answer a URL with, when it looks for files and says so
// by a method on its settings:
//
//	func (c Config) Find(path string) *inspect.Found
//
// The method may look at the disk and must change nothing. Find returns nil for other components.
func (d *Definition) Find(cfg any, path string) *inspect.Found {
	if own, ok := cfg.(interface {
		Find(path string) *inspect.Found
	}); ok {
		return own.Find(path)
	}
	return nil
}

// Inside tells with which path a component with these settings asks the [Stack] in them for a URL, when it says so by
// a method on its settings:
//
//	func (c Config) Inside(path string) (inner string, asked bool)
//
// It must be pure. Asked is false where the stack isn't asked, and for other components.
func (d *Definition) Inside(cfg any, path string) (inner string, asked bool) {
	if own, ok := cfg.(interface {
		Inside(path string) (string, bool)
	}); ok {
		return own.Inside(path)
	}
	return "", false
}

// Summary returns the first of its promises in words, such as "process-safe,
// blocking".
func (d *Definition) Summary() string {
	return d.traits.Processes.String() + ", " + d.traits.Calls.String()
}

// References calls f for each Ref in the settings that refers to something, in the order
// of the manual; path is where it stands, such as "store" or "factories[.md]".
func (d *Definition) References(cfg any, f func(path string, ref Reference) error) error {
	var errs []error
	parts(d.Settings, reflect.ValueOf(cfg).Elem(), "", func(path string, v any) {
		if ref, ok := v.(Reference); ok && ref.Name() != "" {
			errs = append(errs, f(path, ref))
		}
	})
	return errors.Join(errs...)
}

// Bind returns a copy of the settings in which each Ref that refers to something, and each Stack that there is,
// is bound to what product returns for its path: for a Stack a http.Handler.
func (d *Definition) Bind(cfg any, product func(path string) any) any {
	bound := reflect.New(d.defaults.Type())
	bound.Elem().Set(clone(reflect.ValueOf(cfg).Elem()))
	parts(d.Settings, bound.Elem(), "", func(path string, v any) {
		switch v := v.(type) {
		case Reference:
			if v.Name() != "" {
				v.Bind(product(path))
			}
		case *Stack:
			if !v.IsZero() {
				v.Bind(product(path).(http.Handler))
			}
		}
	})
	return bound.Interface()
}

// parts calls f with a pointer to each Ref and Stack in the settings.
func parts(t *Type, v reflect.Value, path string, f func(path string, v any)) {
	switch t.Form {
	case FormRef, FormStack:
		f(path, v.Addr().Interface())
	case FormStruct:
		for _, field := range t.Fields {
			parts(field.Type, v.Field(field.Index), strings.TrimPrefix(path+"."+field.Name, "."), f)
		}
	case FormList:
		for i := range v.Len() {
			parts(t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case FormMap:
		for _, key := range sortedKeys(v) {
			// A map's values can't be addressed: work on a copy and put it back.
			value := reflect.New(t.Elem.Go).Elem()
			value.Set(v.MapIndex(key))
			parts(t.Elem, value, path+"["+key.String()+"]", f)
			v.SetMapIndex(key, value)
		}
	}
}

// Open builds an instance with these settings, whose references are bound. When Build
// fails or panics, what it had opened is closed before Open returns. Ctx bounds the
// life of the instance as [Env.Context] describes, not the call; cancelling it is the owner's
// way of stopping what the instance does without closing it.
func (d *Definition) Open(ctx context.Context, cfg any, log *slog.Logger) (*Instance, error) {
	env := &Env{log: log, restart: restartOf(ctx, log)}
	env.ctx, env.cancel = context.WithCancel(ctx)
	i := &Instance{env: env}
	err := protect(func() (err error) {
		i.Product, err = d.build(env, cfg)
		return err
	})
	if err == nil && isNil(i.Product) {
		err = errors.New("it built nothing")
	}
	if err != nil {
		return nil, errors.Join(err, env.close())
	}
	return i, nil
}

func isNil(product any) bool {
	v := reflect.ValueOf(product)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Func, reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// Describe returns the description of a struct of settings that belongs to no component,
// such as the stack file's own. It panics when the struct breaks the rules for
// settings.
func Describe[C any]() *Type {
	var ty typer
	t := ty.typeOf(reflect.TypeFor[C](), "", false)
	if len(ty.faults) > 0 {
		panic("registry: " + strings.Join(ty.faults, "; "))
	}
	return t
}
