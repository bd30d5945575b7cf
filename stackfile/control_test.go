package stackfile

import (
	"path/filepath"
	"testing"
)

// TestControlOf proves that a running stack is found also while its file is being worked on.
func TestControlOf(t *testing.T) {
	for _, tt := range []struct {
		name, control, rest, want string
		fails                     bool
	}{
		{"left out", "", "stack: [say]", "on", false},
		{"off", "control: off", "stack: [say]", "off", false},
		{"a problem elsewhere", "control: unix:run/c.sock", "stack: [sai]", "unix:DIR/run/c.sock", false},
		{"no stack", "control: unix:/run/c.sock", "", "unix:/run/c.sock", false},
		{"not YAML", "control: unix:/run/c.sock", "stack: [", "on", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "stack.yaml")
			write(t, file, "servers: [http]\n"+tt.control+"\n"+tt.rest+"\n")
			c, err := ControlOf(t.Context(), testRegistry(t), file)
			want := tt.want
			if len(want) > 8 && want[:8] == "unix:DIR" {
				want = "unix:" + dir + want[8:]
			}
			if c.String() != want || (err != nil) != tt.fails {
				t.Errorf("it is %s, with the error %v; want %s, fails %t", c, err, want, tt.fails)
			}
		})
	}
}
