// Package schema is the reference of the stack file: a manual for people, a JSON
// Schema for editors.
//
// What it says of a component comes from two places. Names, types, defaults, constraints and
// promises are those of the registry that it is given, so they are true of the program that is
// running, whatever components it has. The sentences are the comments in the sources, the package's and
// each setting's, which go generate collects into prose.json. A component of another module brings
// those of its own, see [registry.Component]; without them its facts are shown all the same.
//
// Beside prose.json, go generate writes reference.md, which is [Manual] of the components of
// package components/standard, and stack.schema.json, which is [JSONSchema] of them. It refuses a
// component without a package comment or an example, and a setting without a comment.
//
// All functions are pure: the same registry gives the same bytes.
package schema

//go:generate go run ./generate
