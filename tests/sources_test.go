package tests

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is one package's own files, tests aside, with every identifier that the package itself declares resolved.
// Nothing that it imports is loaded: the rules below need to know what a name is, never its type.
type source struct {
	dir   string // slash-separated, below the root; "." is the root
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
	scope *types.Scope
}

// load parses the package's files (name below the root to text) and resolves their identifiers.
func load(dir string, texts map[string]string) (*source, error) {
	s := &source{dir: dir, fset: token.NewFileSet(), info: &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		f, err := parser.ParseFile(s.fset, name, texts[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	conf := types.Config{Importer: nothing{}, Error: func(error) {}} // whether it compiles is for the compiler to say
	pkg, _ := conf.Check(path.Join(module, dir), s.fset, s.files, s.info)
	s.scope = pkg.Scope()
	return s, nil
}

// nothing imports nothing; the checker then makes do with an empty package of that path.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }

func (s *source) at(n ast.Node, format string, args ...any) string {
	pos := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", pos.Filename, pos.Line, fmt.Sprintf(format, args...))
}

// imported tells which imported package's name the expression is, such as "os" and "Exit". Type arguments are left off.
func (s *source) imported(e ast.Expr) (path, name string) {
	switch x := ast.Unparen(e).(type) {
	case *ast.SelectorExpr:
		if id, ok := x.X.(*ast.Ident); ok {
			if p, ok := s.info.Uses[id].(*types.PkgName); ok {
				return p.Imported().Path(), x.Sel.Name
			}
		}
	case *ast.IndexExpr:
		return s.imported(x.X)
	case *ast.IndexListExpr:
		return s.imported(x.X)
	}
	return "", ""
}

// within reports whether the package is in that folder or below it.
func (s *source) within(dir string) bool { return s.dir == dir || strings.HasPrefix(s.dir, dir+"/") }

// rules are what the sources themselves must keep. Each returns what breaks it, with file and line.
var rules = []struct {
	name  string
	check func(*source) []string
}{
	{"the program alone ends the process and has a default logger", programOnly},
	{"no mutable package variables", mutableVariables},
	{"no variable of another package is set", foreignVariables},
	{"init only registers a component", initFunctions},
	{"one package comment", packageComments},
}

// programOnly finds what only the commands may do.
func programOnly(s *source) (found []string) {
	if s.within("cmd") {
		return nil
	}
	forbidden := map[string]*regexp.Regexp{
		"os":       regexp.MustCompile(`^Exit$`),
		"log":      regexp.MustCompile(`^Fatal(f|ln)?$`),
		"log/slog": regexp.MustCompile(`^(Default|SetDefault|(Debug|Info|Warn|Error)(Context)?|Log|LogAttrs)$`),
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				pkg, name := s.imported(sel)
				if re := forbidden[pkg]; re != nil && re.MatchString(name) {
					found = append(found, s.at(n, "%s.%s is for cmd alone", path.Base(pkg), name))
				}
			}
			return true
		})
	}
	return found
}

// mutableAllowed are the package variables that do change, each with the reason why it must.
var mutableAllowed = map[string]string{
	"registry.compiled":     "the table of the components that are compiled in: filled by their init functions, before main",
	"registry/environ.keys": "the number of environ keys: counted by package variables, before main",
}

// makers return a value that never changes again, or that is made once.
var makers = map[string][]string{
	"errors":                     {"New"},
	"fmt":                        {"Errorf"},
	"html/template":              {"Must"},
	"reflect":                    {"TypeFor", "TypeOf"},
	"regexp":                     {"MustCompile"},
	"strings":                    {"NewReplacer"},
	"sync":                       {"OnceFunc", "OnceValue", "OnceValues"},
	"text/template":              {"Must"},
	module + "/registry/environ": {"NewInherited", "NewKey"},
	module + "/registry/failure": {"WithStatus"},
}

// changers change what their first argument holds.
var changers = map[string]*regexp.Regexp{
	"maps":   regexp.MustCompile(`^(Copy|DeleteFunc|Insert)$`),
	"slices": regexp.MustCompile(`^(Sort|Reverse|Delete|Compact|Insert|Replace)`),
	"sort":   regexp.MustCompile(`.`),
}

// mutableVariables finds package variables that change, or that nothing keeps from changing. What may stand there is a
// value that is complete when it is declared, and that its package neither assigns to, as a whole or in part, nor gives
// to another package to fill.
func mutableVariables(s *source) (found []string) {
	changed := s.changed()
	for _, f := range s.files {
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				v := spec.(*ast.ValueSpec)
				embedded := directive(gen.Doc, "//go:embed ") || directive(v.Doc, "//go:embed ")
				for i, name := range v.Names {
					if _, allowed := mutableAllowed[s.dir+"."+name.Name]; name.Name == "_" || allowed {
						continue
					}
					switch {
					case changed[name.Name] != nil:
						found = append(found, s.at(changed[name.Name], "the package variable %s changes here", name.Name))
					case embedded:
					case len(v.Values) != len(v.Names) || !s.complete(v.Values[i]):
						found = append(found, s.at(name, "the package variable %s is not a value that stays as it is", name.Name))
					}
				}
			}
		}
	}
	return found
}

// directive reports whether the comment has a line that starts so.
func directive(doc *ast.CommentGroup, start string) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, start) })
}

// complete reports whether the expression makes a value that has no reason to change later.
func (s *source) complete(e ast.Expr) bool {
	switch x := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		return x.Type == nil || !s.synchronised(x.Type)
	case *ast.CallExpr:
		switch x.Fun.(type) {
		case *ast.ArrayType: // []byte("text")
			return true
		case *ast.FuncLit: // func() []rule { … }()
			return true
		}
		pkg, name := s.imported(x.Fun)
		if pkg == "" {
			pkg, name = s.declared(x.Fun)
		}
		return slices.Contains(makers[pkg], name)
	}
	return false
}

// declared tells which function of its own package the expression names, as imported does for other packages'.
func (s *source) declared(e ast.Expr) (path, name string) {
	switch x := e.(type) {
	case *ast.IndexExpr:
		return s.declared(x.X)
	case *ast.Ident:
		return module + "/" + s.dir, x.Name
	}
	return "", ""
}

// synchronised reports whether the type has a lock or an atomic in it, which is there because something changes. A
// sync.Pool holds nothing that anybody may count on.
func (s *source) synchronised(typ ast.Expr) (yes bool) {
	ast.Inspect(typ, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			pkg, name := s.imported(sel)
			yes = yes || pkg == "sync/atomic" || pkg == "sync" && name != "Pool"
		}
		return true
	})
	return yes
}

// changed returns the package variables that the package changes, in whole or in part, each with one place where it
// does.
func (s *source) changed() map[string]ast.Node {
	changed := map[string]ast.Node{}
	s.eachChange(func(target ast.Expr) {
		if id := base(target); id != nil {
			if v, ok := s.info.Uses[id].(*types.Var); ok && v.Parent() == s.scope {
				changed[id.Name] = target
			}
		}
	})
	return changed
}

// foreignVariables finds assignments to variables of other packages.
func foreignVariables(s *source) (found []string) {
	if s.within("cmd") {
		return nil
	}
	s.eachChange(func(target ast.Expr) {
		for e := target; e != nil; e = inner(e) {
			if pkg, name := s.imported(e); pkg != "" {
				found = append(found, s.at(target, "%s.%s belongs to another package", path.Base(pkg), name))
				return
			}
		}
	})
	return found
}

// eachChange calls f for every expression that is assigned to, or changed in some other way that syntax shows.
func (s *source) eachChange(f func(target ast.Expr)) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, lhs := range n.Lhs {
						f(lhs)
					}
				}
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					f(n.Key)
					if n.Value != nil {
						f(n.Value)
					}
				}
			case *ast.IncDecStmt:
				f(n.X)
			case *ast.CallExpr:
				if len(n.Args) > 0 && s.changesArgument(n.Fun) {
					f(n.Args[0])
				}
				if pkg, _ := s.imported(n.Fun); pkg != "" {
					for _, arg := range n.Args {
						if at, ok := arg.(*ast.UnaryExpr); ok && at.Op == token.AND {
							f(at.X) // as json.Unmarshal and flag.StringVar do
						}
					}
				}
			}
			return true
		})
	}
}

// changesArgument reports whether a call of the function changes what its first argument holds.
func (s *source) changesArgument(fun ast.Expr) bool {
	if id, ok := fun.(*ast.Ident); ok {
		_, builtin := s.info.Uses[id].(*types.Builtin)
		return builtin && (id.Name == "delete" || id.Name == "clear" || id.Name == "copy")
	}
	pkg, name := s.imported(fun)
	return changers[pkg] != nil && changers[pkg].MatchString(name)
}

// inner returns what the expression is a part of: x for x.f, x[i], x[i:j], *x and (x). It is nil for anything else.
func inner(e ast.Expr) ast.Expr {
	switch x := e.(type) {
	case *ast.ParenExpr:
		return x.X
	case *ast.SelectorExpr:
		return x.X
	case *ast.IndexExpr:
		return x.X
	case *ast.SliceExpr:
		return x.X
	case *ast.StarExpr:
		return x.X
	}
	return nil
}

// base returns the identifier that the expression starts from, or nil.
func base(e ast.Expr) *ast.Ident {
	for ; e != nil; e = inner(e) {
		if id, ok := e.(*ast.Ident); ok {
			return id
		}
	}
	return nil
}

// initFunctions finds every init but a component's registration.
func initFunctions(s *source) (found []string) {
	component := strings.HasPrefix(s.dir, "components/") && strings.Count(s.dir, "/") == 2
	for _, f := range s.files {
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && (!component || !s.registers(fn)) {
				found = append(found, s.at(fn, "init may only be a component's func init() { registry.Register(Component) }"))
			}
		}
	}
	return found
}

// registers reports whether the function's body is registry.Register(Component), and nothing else.
func (s *source) registers(fn *ast.FuncDecl) bool {
	if len(fn.Body.List) != 1 {
		return false
	}
	stmt, ok := fn.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := stmt.X.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return false
	}
	pkg, name := s.imported(call.Fun)
	arg, ok := call.Args[0].(*ast.Ident)
	return ok && arg.Name == "Component" && pkg == module+"/registry" && name == "Register"
}

// packageComments finds packages that have no package comment, or several.
func packageComments(s *source) []string {
	var in []string
	for _, f := range s.files {
		if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
			in = append(in, s.fset.Position(f.Pos()).Filename)
		}
	}
	if len(in) == 1 {
		return nil
	}
	return []string{s.at(s.files[0], "package %s has %d package comments %q, want one", s.files[0].Name.Name, len(in), in)}
}

// sources loads every package of the module, whatever platform its files are for.
func sources(t *testing.T) []*source {
	t.Helper()
	texts := map[[2]string]map[string]string{} // by folder and package name
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		key := [2]string{path.Dir(filepath.ToSlash(rel)), f.Name.Name}
		if texts[key] == nil {
			texts[key] = map[string]string{}
		}
		texts[key][filepath.ToSlash(rel)] = string(text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []*source
	for key, files := range texts {
		s, err := load(key[0], files)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *source) int { return strings.Compare(a.dir, b.dir) })
	return all
}

func TestSources(t *testing.T) {
	all := sources(t)
	if len(all) < 2 {
		t.Fatalf("found %d packages under %s, want those of the module", len(all), root)
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, s := range all {
				for _, b := range rule.check(s) {
					t.Error(b)
				}
			}
		})
	}
	t.Run("the exceptions are still needed", func(t *testing.T) {
		var declared []string
		for _, s := range all {
			for _, name := range s.scope.Names() {
				if _, ok := s.scope.Lookup(name).(*types.Var); ok {
					declared = append(declared, s.dir+"."+name)
				}
			}
		}
		for name, why := range mutableAllowed {
			if !slices.Contains(declared, name) || why == "" {
				t.Errorf("%s is excepted, but is no package variable any more, or has no reason", name)
			}
		}
	})
}

// TestSourcesBroken proves that each rule finds what it is about, in planted packages.
func TestSourcesBroken(t *testing.T) {
	const (
		reg = `import "github.com/stackd/stackd/registry"; `
		env = `import "github.com/stackd/stackd/registry/environ"; `
	)
	for _, tt := range []struct {
		name  string
		rule  func(*source) []string
		dir   string
		files []string // without the package clause, which is put before each
		want  []string // a part of each finding, in order
	}{
		{"os.Exit", programOnly, "stackfile", []string{`import "os"; func f() { os.Exit(1) }`}, []string{"a.go:1: os.Exit"}},
		{"os.Exit as a value", programOnly, "stackfile", []string{`import "os"; func f() func(int) { return os.Exit }`}, []string{"os.Exit"}},
		{"os.Exit by another name", programOnly, "stackfile", []string{`import sys "os"; func f() { sys.Exit(1) }`}, []string{"os.Exit"}},
		{"a method called Exit", programOnly, "stackfile", []string{`type t struct{}; func (t) Exit(int) {}; func f(os t) { os.Exit(1) }`}, nil},
		{"os.Exit in cmd", programOnly, "cmd/stackd", []string{`import "os"; func f() { os.Exit(1) }`}, nil},
		{"a folder that only starts like cmd", programOnly, "cmdline", []string{`import "os"; func f() { os.Exit(1) }`}, []string{"os.Exit"}},
		{
			"log.Fatal", programOnly, "registry",
			[]string{`import "log"; func f() { log.Fatal(1); log.Fatalf(""); log.Fatalln(); log.New(nil, "", 0) }`},
			[]string{"log.Fatal ", "log.Fatalf ", "log.Fatalln "},
		},
		{
			"the default logger", programOnly, "registry",
			[]string{`import "log/slog"; func f() { slog.SetDefault(slog.Default()); slog.Info(""); slog.New(nil) }`},
			[]string{"slog.SetDefault", "slog.Default", "slog.Info"},
		},

		{"a counter", mutableVariables, "registry", []string{`var n int`}, []string{"n is not"}},
		{"a number", mutableVariables, "registry", []string{`var n = 1`}, []string{"n is not"}},
		{"a map made to be filled", mutableVariables, "registry", []string{`var m = make(map[string]int)`}, []string{"m is not"}},
		{"a function to be replaced", mutableVariables, "registry", []string{`import "time"; var now = time.Now`}, []string{"now is not"}},
		{"a pointer", mutableVariables, "registry", []string{`type t struct{}; var p = &t{}`}, []string{"p is not"}},
		{"a lock", mutableVariables, "registry", []string{`import "sync"; var mu = sync.Mutex{}`}, []string{"mu is not"}},
		{"a guarded struct", mutableVariables, "registry", []string{`import "sync"; var g = struct{ sync.Mutex; n int }{}`}, []string{"g is not"}},
		{"a pool", mutableVariables, "registry", []string{`import "sync"; var pool = sync.Pool{New: nil}`}, nil},
		{"an atomic", mutableVariables, "registry", []string{`import "sync/atomic"; var n = atomic.Int64{}`}, []string{"n is not"}},
		{"two from one call", mutableVariables, "registry", []string{`func f() (a, b int); var a, b = f()`}, []string{"a is not", "b is not"}},
		{"a table that is read", mutableVariables, "registry", []string{`var t = map[string]int{"a": 1}; func f() int { return t["a"] }`}, nil},
		{"a table that is assigned", mutableVariables, "registry", []string{`var t = []int{1}; func f() { t = append(t, 2) }`}, []string{"t changes"}},
		{"an element that is assigned", mutableVariables, "registry", []string{`var t = map[string]int{}; func f() { t["a"] = 1 }`}, []string{"t changes"}},
		{"a field that is assigned, in another file", mutableVariables, "registry", []string{`var t = struct{ n int }{}`, `func f() { (t).n++ }`}, []string{"b.go:1: the package variable t changes"}},
		{"an element that is deleted", mutableVariables, "registry", []string{`var t = map[string]int{}; func f() { delete(t, "a") }`}, []string{"t changes"}},
		{"a list that is sorted", mutableVariables, "registry", []string{`import "slices"; var t = []int{2, 1}; func f() { slices.Sort(t[:1]) }`}, []string{"t changes"}},
		{"a table that another package fills", mutableVariables, "registry", []string{`import "encoding/json"; var t = []int{}; func f() { json.Unmarshal(nil, &t) }`}, []string{"t changes"}},
		{"a value that is told apart by its address", mutableVariables, "registry", []string{`type rule struct{}; var t = rule{}; func f(*rule) { f(&t) }`}, nil},
		{"a table that is ranged into", mutableVariables, "registry", []string{`var t = [1]int{}; func f() { for t[0] = range 3 {} }`}, []string{"t changes"}},
		{"a local variable of the same name", mutableVariables, "registry", []string{`var t = []int{1}; func f() { t := []int{2}; t[0] = 3 }`}, nil},
		{"a local delete", mutableVariables, "registry", []string{`var t = []int{1}; func f() { delete := func([]int) {}; delete(t) }`}, nil},
		{"an error", mutableVariables, "registry", []string{`import ("errors"; "fmt"); var a, b = errors.New("x"), fmt.Errorf("y")`}, nil},
		{"an error that is replaced", mutableVariables, "registry", []string{`import "errors"; var e = errors.New("x"); func f() { e = nil }`}, []string{"e changes"}},
		{"a regular expression", mutableVariables, "registry", []string{`import "regexp"; var re = regexp.MustCompile("x")`}, nil},
		{"a template", mutableVariables, "registry", []string{`import "html/template"; var t = template.Must(template.New("x").Parse("y"))`}, nil},
		{"a value made once", mutableVariables, "registry", []string{`import "sync"; var v = sync.OnceValue(func() int { return 1 })`}, nil},
		{"bytes", mutableVariables, "registry", []string{`var b = []byte("x")`}, nil},
		{"an embedded file", mutableVariables, "schema", []string{"import _ \"embed\"\n\n//go:embed x.json\nvar x []byte"}, nil},
		{"an embedded file that is written to", mutableVariables, "schema", []string{"import _ \"embed\"\n\n//go:embed x.json\nvar x []byte\nfunc f() { x[0] = 1 }"}, []string{"x changes"}},
		{"an assertion", mutableVariables, "registry", []string{`import "io"; type t struct{}; var _ io.Reader = t{}`}, nil},
		{"an environ key", mutableVariables, "registry/session", []string{env + `var Key = environ.NewKey[int]("x")`}, nil},
		{"an environ key of environ's own", mutableVariables, "registry/environ", []string{`func NewKey[T any](string) (k T) { return }; var Vars = NewKey[int]("x")`}, nil},
		{"another package's NewKey", mutableVariables, "registry/session", []string{`import "example.org/environ"; var Key = environ.NewKey[int]("x")`}, []string{"Key is not"}},
		{"a component", mutableVariables, "components/apps/x", []string{reg + `type Config struct{}; var Component = registry.App[Config]{Name: "x"}`}, nil},
		{"a component that changes itself", mutableVariables, "components/apps/x", []string{reg + `type Config struct{}; var Component = registry.App[Config]{}; func f() { Component.Name = "y" }`}, []string{"Component changes"}},
		{"the named exception", mutableVariables, "registry/environ", []string{`import "sync"; var keys struct{ sync.Mutex }`}, nil},
		{"its name elsewhere", mutableVariables, "registry/session", []string{`import "sync"; var keys struct{ sync.Mutex }`}, []string{"keys is not"}},

		{"another package's variable", foreignVariables, "registry", []string{`import "net/http"; func f() { http.DefaultClient.Timeout = 1; http.DefaultClient = nil }`}, []string{"http.DefaultClient", "http.DefaultClient"}},
		{"another package's variable, filled", foreignVariables, "registry", []string{`import ("encoding/json"; "os"); func f() { json.Unmarshal(nil, &os.Args) }`}, []string{"os.Args"}},
		{"a new value of another package's type", foreignVariables, "registry", []string{`import ("log"; "net/http"); func f() { log.Print(&http.Server{}) }`}, nil},
		{"a local value of another package's type", foreignVariables, "registry", []string{`import "net/http"; func f(r *http.Request) { r.URL.Path = "" }`}, nil},
		{"another package's variable in cmd", foreignVariables, "cmd", []string{`import "os"; func f() { os.Args = nil }`}, nil},

		{"a registration", initFunctions, "components/apps/x", []string{reg + `func init() { registry.Register(Component) }; var Component int`}, nil},
		{"a registration and more", initFunctions, "components/apps/x", []string{reg + `func init() { registry.Register(Component); f() }`}, []string{"a.go:1: init may only"}},
		{"a registration of something else", initFunctions, "components/apps/x", []string{reg + `func init() { registry.Register(Other) }`}, []string{"init may only"}},
		{"another package's Register", initFunctions, "components/apps/x", []string{`import "example.org/registry"; func init() { registry.Register(Component) }`}, []string{"init may only"}},
		{"a registration outside components", initFunctions, "stackfile", []string{reg + `func init() { registry.Register(Component) }`}, []string{"init may only"}},
		{"an init in cmd", initFunctions, "cmd", []string{`func init() {}`}, []string{"init may only"}},
		{"a method called init", initFunctions, "cmd", []string{`type t struct{}; func (t) init() {}`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts := map[string]string{}
			for i, text := range tt.files {
				texts[string(rune('a'+i))+".go"] = "package planted; " + text
			}
			check(t, tt.rule, tt.dir, texts, tt.want)
		})
	}

	for _, tt := range []struct {
		name  string
		texts map[string]string
		want  []string
	}{
		{"one comment", map[string]string{"a.go": "// Package p is p.\npackage p", "b.go": "package p"}, nil},
		{"no comment", map[string]string{"a.go": "package p", "b.go": "package p"}, []string{"0 package comments"}},
		{"a comment apart", map[string]string{"a.go": "// Package p is p.\n\npackage p"}, []string{"0 package comments"}},
		{"only a directive", map[string]string{"a.go": "//go:debug x=1\npackage p"}, []string{"0 package comments"}},
		{"two comments", map[string]string{"a.go": "// Package p is p.\npackage p", "b.go": "// Package p is q.\npackage p"}, []string{`2 package comments ["a.go" "b.go"]`}},
	} {
		t.Run("package comment/"+tt.name, func(t *testing.T) {
			check(t, packageComments, "stackfile", tt.texts, tt.want)
		})
	}
}

// check runs the rule over a planted package and compares what it finds with a part of each finding wanted.
func check(t *testing.T, rule func(*source) []string, dir string, texts map[string]string, want []string) {
	t.Helper()
	s, err := load(dir, texts)
	if err != nil {
		t.Fatal(err)
	}
	found := rule(s)
	if len(found) != len(want) {
		t.Fatalf("found %q, want %q", found, want)
	}
	for i := range want {
		if !strings.Contains(found[i], want[i]) {
			t.Errorf("found %q, want %q in it", found[i], want[i])
		}
	}
}
