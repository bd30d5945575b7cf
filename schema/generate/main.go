// Command generate writes what package schema embeds and what it makes of that: prose.json,
// reference.md and stack.schema.json. It runs in the folder of that package, by go generate.
//
// The comments of a package are found through the go command, by the import path that the
// component was registered from. When something isn't documented it says what and where, and
// writes nothing.
//
// With packages for arguments it writes a prose.json into the folder of each: what the Prose of a component there is to be,
// see [registry.Component]. It is for those whose components are in modules of their own:
//
//	go run github.com/stackd/stackd/schema/generate ./...
//
// A package that doesn't import registry has none.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	_ "github.com/stackd/stackd/components/standard" // what is to be documented
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
)

func main() {
	if err := write(); err != nil {
		panic(err) // ending with a status is for the program alone
	}
}

func write() error {
	var files map[string][]byte
	var err error
	if len(os.Args) > 1 {
		files, err = describe(os.Args[1:])
	} else {
		files, err = generate(registry.Compiled())
	}
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		if err := os.WriteFile(name, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// stackfilePackage declares the settings that belong to no component.
const stackfilePackage = "github.com/stackd/stackd/stackfile"

// generate returns the files by name.
func generate(reg *registry.Registry) (map[string][]byte, error) {
	packages := []string{stackfilePackage}
	for _, d := range reg.All() {
		packages = append(packages, d.Package)
	}
	found, err := list(packages)
	if err != nil {
		return nil, err
	}
	prose := make(schema.Prose)
	at := make(places)
	for _, p := range found {
		text, err := p.read(at)
		if err != nil {
			return nil, err
		}
		if p.ImportPath == stackfilePackage {
			// Its comment is for programmers: the manual's chapter on the stack file is written by hand.
			text.Synopsis, text.Doc = "", ""
		}
		prose[p.ImportPath] = text
	}
	if err := gaps(prose, reg, at); err != nil {
		return nil, err
	}
	encoded, err := encode(prose)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"prose.json":        encoded,
		"reference.md":      []byte(prose.Manual(reg)),
		"stack.schema.json": prose.JSONSchema(reg),
	}, nil
}

// registryPackage is what every package of a component imports.
const registryPackage = "github.com/stackd/stackd/registry"

// describe returns what the comments of packages say, by the name of the file that it is for.
func describe(packages []string) (map[string][]byte, error) {
	found, err := list(packages)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, p := range found {
		if !slices.Contains(p.Imports, registryPackage) {
			continue
		}
		text, err := p.read(make(places))
		if err != nil {
			return nil, err
		}
		if files[filepath.Join(p.Dir, "prose.json")], err = encode(text); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func encode(v any) ([]byte, error) {
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	err := e.Encode(v)
	return encoded.Bytes(), err
}

// gaps returns an error for all that isn't documented, with file and line.
func gaps(prose schema.Prose, reg *registry.Registry, at places) error {
	var errs []error
	for _, g := range prose.Gaps(reg) {
		where := at[g.Package+"."+g.Field]
		if where == "" {
			where = g.Package + "." + g.Field
		}
		errs = append(errs, fmt.Errorf("%s: %s", where, g.Problem))
	}
	return errors.Join(errs...)
}
