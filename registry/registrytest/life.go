package registrytest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
)

var declaration = rule{
	name:  "declaration",
	text:  "a component has a name, settings of the closed set, both traits and a Build function",
	where: "package registry, A component",
}

// declare checks a declaration and returns its definition.
func declare(c registry.Declaration) (*registry.Definition, error) {
	r, err := registry.New(c)
	if err != nil {
		return nil, err
	}
	return r.All()[0], nil
}

var settingsRules = []rule{
	{
		name:  "settings",
		text:  "the settings of a case, and the defaults but for what the user must write, break no constraint",
		where: settings,
		first: true,
		check: checkSettings,
	},
	{
		name:  "pure",
		text:  "Validate, Traits, Warnings and Expects say the same each time they are asked, and change nothing",
		where: settings,
		check: checkPure,
	},
}

var settingsKept = rule{
	name:  "settings kept",
	text:  "settings belong to the loader, which builds several instances of them: they are never changed",
	where: settings,
}

func checkSettings(k *kit) error {
	var errs []error
	for _, e := range k.Check(k.Default()) {
		if k.defaults || !required(k.Settings, e) {
			errs = append(errs, fmt.Errorf("default settings: %s %s", e.Setting, e.Problem))
		}
	}
	if !k.defaults {
		for _, e := range k.Check(k.cfg) {
			errs = append(errs, fmt.Errorf("settings of the case: %s %s", e.Setting, e.Problem))
		}
	}
	errs = append(errs, addresses(k.Settings, reflect.ValueOf(k.cfg).Elem(), ""))
	errs = append(errs, k.References(k.cfg, func(path string, ref registry.Reference) error {
		if protect(func() error {
			reflect.ValueOf(ref).MethodByName("Get").Call(nil)
			return nil
		}) != nil {
			return fmt.Errorf("%s refers to the %s %q, which isn't built; a Case's Settings must bind it with registry.Bound", path, ref.Kind(), ref.Name())
		}
		return nil
	}))
	err := errors.Join(errs...)
	if err != nil && k.defaults {
		err = fmt.Errorf("%w\n\tRun needs a Case with Settings where the defaults alone can't be built", err)
	}
	return err
}

// required reports whether a default breaks no other constraint than that the user must write
// the setting.
func required(t *registry.Type, e registry.SettingError) bool {
	for part := range strings.SplitSeq(e.Setting, ".") {
		f := t.Field(part)
		if f == nil {
			return false
		}
		if t = f.Type; t.Form != registry.FormStruct {
			for _, r := range f.Rules {
				if r.Name == "required" {
					return true
				}
			}
		}
	}
	return false
}

// addresses checks every address and network in the settings.
func addresses(t *registry.Type, v reflect.Value, path string) error {
	var errs []error
	switch t.Form {
	case registry.FormAddress:
		if a := v.Interface().(registry.Address); a != "" {
			if err := a.Check(); err != nil {
				errs = append(errs, fmt.Errorf("%s is %q; %w", path, a, err))
			}
		}
	case registry.FormNetwork:
		if n := v.Interface().(registry.Network); n != "" {
			if err := n.Check(); err != nil {
				errs = append(errs, fmt.Errorf("%s is %q; %w", path, n, err))
			}
		}
	case registry.FormStruct:
		for _, f := range t.Fields {
			errs = append(errs, addresses(f.Type, v.Field(f.Index), strings.TrimPrefix(path+"."+f.Name, ".")))
		}
	case registry.FormList:
		for i := range v.Len() {
			errs = append(errs, addresses(t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i)))
		}
	case registry.FormMap:
		for _, key := range v.MapKeys() {
			errs = append(errs, addresses(t.Elem, v.MapIndex(key), path+"["+key.String()+"]"))
		}
	}
	return errors.Join(errs...)
}

func checkPure(k *kit) error {
	for _, cfg := range []any{k.Default(), k.cfg} {
		text := func() string { return k.Settings.Format(reflect.ValueOf(cfg).Elem()) }
		before := text()
		first := k.Check(cfg)
		if after := text(); after != before {
			return fmt.Errorf("its Validate changed settings that were %s\n\tto %s", before, after)
		}
		traits := k.Traits(cfg)
		if after := text(); after != before {
			return fmt.Errorf("its Traits changed settings that were %s\n\tto %s", before, after)
		}
		if traits.Processes.String() == "unstated" || traits.Calls.String() == "unstated" {
			return fmt.Errorf("the trait Processes or Calls is unstated for the settings %s", before)
		}
		if again := k.Check(cfg); !reflect.DeepEqual(first, again) {
			return fmt.Errorf("its Validate said %v, and then %v", first, again)
		}
		if again := k.Traits(cfg); !reflect.DeepEqual(traits, again) {
			return fmt.Errorf("its Traits said %v, and then %v", traits, again)
		}
		if err := checkAdvice(k, cfg, text); err != nil {
			return err
		}
	}
	return nil
}

// checkAdvice checks what the settings warn of and what they expect.
func checkAdvice(k *kit, cfg any, text func() string) error {
	before := text()
	for _, site := range []registry.Site{{}, {Public: true}, {Public: true, Clear: true}} {
		warnings := k.Warnings(cfg, site)
		if after := text(); after != before {
			return fmt.Errorf("its Warnings changed settings that were %s\n\tto %s", before, after)
		}
		if again := k.Warnings(cfg, site); !slices.Equal(warnings, again) {
			return fmt.Errorf("its Warnings said %v, and then %v", warnings, again)
		}
		for _, w := range warnings {
			switch {
			case !slices.Contains(registry.Concerns(), w.Concern):
				return fmt.Errorf("its Warnings have the concern %q; it must be one of %q", w.Concern, registry.Concerns())
			case w.Setting != "" && !k.has(w.Setting):
				return fmt.Errorf("its Warnings speak of %q, which is no setting of it", w.Setting)
			case w.Problem == "":
				return fmt.Errorf("its Warnings say nothing of %s", w.Setting)
			}
		}
	}
	expected := k.Expects(cfg)
	if after := text(); after != before {
		return fmt.Errorf("its Expects changed settings that were %s\n\tto %s", before, after)
	}
	again := k.Expects(cfg)
	if !slices.EqualFunc(expected, again, func(a, b expect.Expectation) bool { return a.Setting == b.Setting }) {
		return errors.New("its Expects said one thing, and then another")
	}
	for _, e := range expected {
		if !k.has(e.Setting) || e.Look == nil {
			return fmt.Errorf("its Expects speak of %q; it must be a setting of it, and a look", e.Setting)
		}
	}
	return nil
}

// has reports whether the component has a setting at a path such as "store.path" or "to[0]".
func (k *kit) has(path string) bool {
	t := k.Settings
	for part := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		switch {
		case strings.HasPrefix(part, "[") && t.Elem != nil:
			t = t.Elem
		case t.Form == registry.FormStruct && t.Field(part) != nil:
			t = t.Field(part).Type
		default:
			return false
		}
	}
	return true
}

var closes = rule{
	name:  "close",
	text:  "an instance closes without an error, and in reasonable time",
	where: life,
}

var lifeRules = []rule{
	{
		name:  "close unused",
		text:  "an instance that no request came to is closed like any other, and a second Close does nothing",
		where: life,
		check: func(k *kit) error {
			i, err := k.instance()
			if err != nil {
				return err
			}
			k.close(i) // and once more when the check is over
			return nil
		},
	},
	{
		name:  "two generations",
		text:  "a new instance is built beside the old one on the same settings, and either works without the other",
		where: life,
		check: checkGenerations,
	},
	{
		name:  "failed build",
		text:  "when Build fails, what it had opened is closed",
		where: life,
		check: checkFailedBuild,
	},
	{
		name:  "depends",
		text:  "the path given to Env.DependsOn is absolute",
		where: "package registry, Env.DependsOn",
		check: func(k *kit) error {
			i, err := k.instance()
			if err != nil {
				return err
			}
			for _, path := range i.Depends() {
				if !filepath.IsAbs(path) {
					return fmt.Errorf("it depends on %q", path)
				}
			}
			return nil
		},
	},
}

func checkGenerations(k *kit) error {
	old, err := k.instance()
	if err != nil {
		return err
	}
	if _, err := k.instance(); err != nil {
		return fmt.Errorf("the second instance: %w", err)
	}
	k.close(old)
	if _, err := k.instance(); err != nil {
		return fmt.Errorf("the third instance, after the first was closed: %w", err)
	}
	return nil
}

// checkFailedBuild lets each path in the settings lead nowhere. Whether the build fails is the
// component's affair; what is left of it is looked at after the check.
func checkFailedBuild(k *kit) error {
	nowhere := filepath.Join(k.t.TempDir(), "file")
	if err := os.WriteFile(nowhere, nil, 0o600); err != nil {
		return err
	}
	for _, path := range paths(k.Settings, reflect.ValueOf(k.cfg).Elem()) {
		was := path.String()
		path.SetString(filepath.Join(nowhere, "missing"))
		if len(k.Check(k.cfg)) == 0 {
			// It may build nevertheless; Build that doesn't return is the error.
			_, err := k.instance()
			if _, hangs := errors.AsType[*lateError](err); hangs {
				return err
			}
		}
		path.SetString(was)
	}
	return nil
}

// paths returns the paths in the settings.
func paths(t *registry.Type, v reflect.Value) []reflect.Value {
	var found []reflect.Value
	switch t.Form {
	case registry.FormPath:
		found = append(found, v)
	case registry.FormStruct:
		for _, f := range t.Fields {
			found = append(found, paths(f.Type, v.Field(f.Index))...)
		}
	case registry.FormList:
		for i := range v.Len() {
			found = append(found, paths(t.Elem, v.Index(i))...)
		}
	}
	return found
}
