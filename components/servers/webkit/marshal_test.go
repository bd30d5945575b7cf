package webkit

import (
	"strings"
	"testing"
)

// FuzzUnmarshal gives the decoder any bytes. What it takes has no more in it than was there, and isn't deep.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{"{0", "{s\x01\x00\x00\x00aN0", "{t\x01\x00\x00\x00ai1234R\x00\x00\x00\x00g123456780", "{s\x01\x00\x00\x00a{s\x01\x00\x00\x00b{000", "{u\x01\x00\x00\x00af\x0120"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := unmarshal([]byte(text), len(text))
		if err != nil {
			if err.Error() == "" || d != nil {
				t.Fatalf("the error is %q, beside %v", err, d)
			}
			return
		}
		entries, length := len(d), 0
		for _, e := range d {
			inner, _ := e.value.(dict)
			entries += len(inner)
			for _, e := range inner {
				if _, deep := e.value.(dict); deep {
					t.Fatalf("%q is a third dictionary within", e.key)
				}
				value, ok := e.value.(string)
				if ok && !strings.Contains(text, value) {
					t.Fatalf("%q isn't in the text", value)
				}
				length += len(e.key) + len(value)
			}
		}
		if length > len(text) {
			t.Fatalf("there are texts of %d bytes in %d", length, len(text))
		}
		if entries*2 > len(text) {
			t.Fatalf("there are %d entries in %d bytes", entries, len(text))
		}
	})
}
