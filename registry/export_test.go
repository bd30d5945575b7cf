package registry

// Elsewhere returns a component that another package than the test's declares.
func Elsewhere(name string) Middleware[struct{}] {
	return Middleware[struct{}]{
		Name:   name,
		Traits: Traits{Processes: ProcessSafe, Calls: NonBlocking},
		Build:  func(*Env, struct{}) (Wrap, error) { return nil, nil },
	}
}
