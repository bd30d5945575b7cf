// Package registrytest checks that a component keeps to what package registry asks of it.
//
// It is each component's first test. For one whose default settings are enough to build it, that is
// one line:
//
//	func TestComponent(t *testing.T) { registrytest.Run(t, bodylimit.Component) }
//
// Others say with which settings to try it, and what stands around it:
//
//	registrytest.Run(t, session.Component, registrytest.Case[session.Config]{
//		Name: "memory",
//		Settings: func(t *testing.T) session.Config {
//			cfg := session.Component.Default
//			cfg.Store = registry.Bound[sessions.Store](newStore(t))
//			return cfg
//		},
//	})
//
// Each rule is a subtest, so that go test -run 'TestComponent/memory/hijack' runs one of them. A
// failure says what happened, the rule that is broken, and where the rule is written.
//
// # What is checked
//
// Of every component: the declaration, the default settings and those of each case; that Traits,
// Validate, Warnings and Expects methods are pure, that settings aren't changed; that an instance can be closed unused and
// twice, and stand beside another of the same settings; that a build which fails because a [registry.Path]
// leads nowhere frees what it had opened; and after each of the checks of its kind, that no goroutine
// which it started and no file which it opened is left.
//
// Of middleware, over real connections of HTTP/1.1 and HTTP/2: that a flush, a hijacked connection,
// deadlines, full duplex, 1xx responses, trailers of either side, HEAD, ranges, conditional requests and the copy of a
// file by the kernel work through it; that [net/http.ErrAbortHandler], panics and cancelled
// contexts pass; that the request isn't changed; and that 100 concurrent requests each get their
// own answer. For this it must let an ordinary request through.
//
// Of apps, and of what hooks and factories make: 100 concurrent requests, HEAD against GET, no empty
// answer for what isn't there, an end of every wait when the client is gone.
//
// Of factories: that the same file can be made an app of twice, and that the methods and the path
// info declared are understood. Of hooks: that what is unknown gets the zero Answer. Of session
// stores: the whole contract of [session.Store]. Of servlets: what is asked of apps, that each method in Allow is
// answered with an empty body, too, and that no params whatever make a procedure fail. Of reporters: that an incident isn't changed, and
// isn't held up. Of servers: the whole contract of [registry.ServeFunc].
//
// Run the checks with -race, in any order. They should give no false alarm: what takes time to happen is
// waited for, up to ten seconds, and is a failure only when it hasn't happened then.
package registrytest
