// Package registry defines what a component of stackd is, and keeps the table
// of those compiled in.
//
// # A component
//
// A component is a value: a name, default settings, promises, and one function that
// builds it. It registers itself by its name:
//
//	func init() { registry.Register(Component) }
//
//	// Component is the body_limit middleware.
//	var Component = registry.Middleware[Config]{
//		Name:    "body_limit",
//		Default: Config{MaxSize: 1 << 20},
//		Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
//		Build:   build,
//	}
//
//	// Config sets the limit.
//	type Config struct {
//		// MaxSize is the longest request body accepted.
//		MaxSize registry.Size `yaml:"max_size" validate:"min=1"`
//	}
//
//	func build(_ *registry.Env, cfg Config) (registry.Wrap, error) { … }
//
// Its kind follows from what Build returns; each kind has an alias: [Server],
// [Middleware], [App], [Hook], [Factory], [Servlet], [Store] and [Reporter].
//
// # Settings
//
// Settings are a plain struct. Each field is exported, tagged `yaml:"its_name"` and
// commented; the comment is the user's manual. Field types are a closed set: bool, int,
// int64, uint16, uint32, float64, string, [time.Duration], [Size], [Percent], [Path], [Address], [Network],
// [Secret], [Ref], [Stack], and slices, maps with string keys, and structs of those. There are no pointers and
// nothing is embedded; the names use, as and off are the stack file's own. A stack file may
// write a list with one plain value as that value: listen: ":8080" is listen: [":8080"].
//
// Constraints are `validate` tags out of a closed set, run by go-playground/validator:
// required, omitempty, min, max, oneof, startswith, url, unique and dive. Rules across
// fields are a method Validate() error on the struct; it must be pure, and may return
// [SettingError]s to say which setting is wrong.
//
// # What a check says
//
// Settings may warn of what is legal and hardly wanted, by a method Warnings(Site) []Warning, and name
// what must be there where the stack runs, by a method Expects() []expect.Expectation. The first are shown
// by stackd check, the second are looked at by stackd check --environment. See [Warning] and package expect.
//
// # Life of an instance
//
// Build may open things, and says beside each how it is closed with [Env.OnClose]. When
// Build fails, or the instance isn't needed any more, what was opened is closed in
// reverse order. Build is never called by a mere check of a stack file.
//
// # What a component must keep to
//
// Requests run concurrently. A request is copied, never changed, and not by Clone: its Trailer is filled when the body
// was read, and a copy of that would stay empty. A ResponseWriter is
// wrapped with the Writer of package response only. [http.ErrAbortHandler] passes through.
// An app that has nothing for a URL answers 404, never an empty 200.
// Whether a visitor came over TLS is whether the request's TLS isn't nil, also where a server in front has
// spoken it: whoever learns of that sets it, as the fastcgi server and the real_ip middleware do.
// Goroutines start in Build, best by [Env.Go], and are gone when the OnClose functions returned. Every wait
// ends with the request's context or [Env.Context]. Package registrytest proves these, and is
// each component's first test.
package registry
