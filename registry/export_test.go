package registry

// Elsewhere is a component that another package than the test's declares.
var Elsewhere = Hookless("elsewhere")

// Hookless returns a middleware that does nothing.
func Hookless(name string) Middleware[struct{}] {
	return Middleware[struct{}]{
		Name:   name,
		Traits: Traits{Processes: ProcessSafe, Calls: NonBlocking},
		Build:  func(*Env, struct{}) (Wrap, error) { return nil, nil },
	}
}
