package gateway

import "github.com/stackd/stackd/registry/failure"

// Tail keeps the last 64 KiB of what is written to it. The zero Tail is ready to use.
type Tail struct {
	text []byte
	cut  bool
}

// tailSize is how much a Tail keeps.
const tailSize = 64 << 10

func (t *Tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
		t.cut = true
	}
	return len(p), nil
}

// String returns what was kept, after an ellipsis if there was more.
func (t *Tail) String() string {
	if t.cut {
		return "…" + string(t.text)
	}
	return string(t.text)
}

// ScriptError is what went wrong with a script. It is a [failure.Detailed].
type ScriptError struct {
	Err error
	// Name is the script's.
	Name string
	// Stderr is what it wrote to its standard error.
	Stderr string
}

func (e *ScriptError) Error() string { return e.Name + ": " + e.Err.Error() }

func (e *ScriptError) Unwrap() error { return e.Err }

// Details returns what the script wrote to its standard error.
func (e *ScriptError) Details() []failure.Detail {
	if e.Stderr == "" {
		return nil
	}
	return []failure.Detail{{Title: "standard error of " + e.Name, Text: e.Stderr}}
}
