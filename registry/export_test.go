package registry

// Elsewhere returns a component that another package than the test's declares.
func Elsewhere(name string) Middleware[struct{}] {
	return Middleware[struct{}]{
		Name:   name,
		Traits: Traits{Processes: ProcessSafe, Calls: NonBlocking},
		Build:  buildNothing,
	}
}

// buildNothing isn't a literal, since one would be inlined into the test's package.
func buildNothing(*Env, struct{}) (Wrap, error) { return nil, nil }
