package stackfile

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFilesMakeNoDifference makes stacks at random and writes each in two ways: as one file, and as files that extend
// each other and include overrides. Every URL meets the same.
func TestFilesMakeNoDifference(t *testing.T) {
	reg, w, patterns := mixRegistry(t), newWorld(), mixPatterns()
	random := rand.New(rand.NewPCG(31, 32))
	compared := 0
	for range 60 {
		data := make([]byte, 300)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		stack := (&mixer{data: data}).stack(patterns)
		whole, err := loadMix(t, reg, stack.String())
		if err != nil {
			continue // a conflict
		}
		dir := t.TempDir()
		base, rest, here := stack, stack, stack
		base.overrides, rest.overrides, here.overrides = nil, nil, nil
		for i, o := range stack.overrides {
			part := []*mixStack{&base, &rest, &here}[i%3]
			part.overrides = append(part.overrides, o)
		}
		write(t, filepath.Join(dir, "base/base.yaml"), base.String())
		write(t, filepath.Join(dir, "urls.d/rest.yaml"), "urls:\n"+rest.urls())
		write(t, filepath.Join(dir, "middle.yaml"), "extends: base/base.yaml\ninclude: urls.d/*.yaml\nstack: [{use: mwone, as: a}, {use: appone, as: app}]\n")
		top := "extends: middle.yaml\nvars: {}\n"
		if urls := here.urls(); urls != "" {
			top += "urls:\n" + urls
		}
		if rest.urls() == "" {
			write(t, filepath.Join(dir, "urls.d/rest.yaml"), "urls: {}\n")
		}
		write(t, filepath.Join(dir, "stack.yaml"), top)
		made, _, err := Load(t.Context(), reg, filepath.Join(dir, "stack.yaml"), Options{})
		if err != nil {
			t.Fatalf("%s\nin several files: %v", stack, err)
		}
		for _, r := range newModel(stack, w).requests() {
			compared++
			want, got := explained(whole.Explain(r.method, r.host, r.path)), explained(made.Explain(r.method, r.host, r.path))
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s\n%s %s%s: -one file +several\n%s", stack, r.method, r.host, r.path, diff)
			}
		}
	}
	if compared < 100 {
		t.Errorf("%d URLs were compared; the test must compare more", compared)
	}
}

// urls is what stands under urls:, if there is something.
func (s mixStack) urls() string {
	const key = "urls:\n"
	text := s.String()
	for i := range text {
		if text[i:min(i+len(key), len(text))] == key && (i == 0 || text[i-1] == '\n') {
			return text[i+len(key):]
		}
	}
	return ""
}
