package cmd

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/registry"
)

// many is a stack file of n overrides of several kinds, of which the slot errors differs by lines.
func many(n, lines int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "servers: [{use: http, listen: \"127.0.0.1:0\"}]\ncontrol: off\nstack: [{use: errors, source_lines: %d}, session, {use: finder, root: site}]\nurls:\n", lines)
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "  /area%d/: {session: {lifetime: %dm}, vars: {theme: dark}}\n", i, i%50+1)
		case 1:
			fmt.Fprintf(&b, "  /area%d/sub/: {finder: {revalidate: %ds}}\n", i-1, i%60)
		case 2:
			fmt.Fprintf(&b, "  \"POST /area%d/{id}\": {finder: {cache: %d}}\n", i-2, i)
		case 3:
			fmt.Fprintf(&b, "  host%d.example.org/area%d/: {session: off}\n", i%20, i)
		case 4:
			fmt.Fprintf(&b, "  /page%d.html: {session: off, vars: {title: %d}}\n", i, i)
		}
	}
	return b.String()
}

// BenchmarkReload changes one slot of a stack file with many overrides, and makes the next generation: all that a reload
// does before the swap, but for opening new listeners. Then it changes what moves the overrides to another line, one of the
// overrides, and what is an override more.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		text := many(n, 1)
		benchmarkReload(b, fmt.Sprint(n), text, many(n, 2))
		benchmarkReload(b, fmt.Sprintf("%d_moved", n), text, "# another line\n"+text)
		benchmarkReload(b, fmt.Sprintf("%d_override", n), text, strings.Replace(text, "{lifetime: 1m}", "{lifetime: 2m}", 1))
		benchmarkReload(b, fmt.Sprintf("%d_added", n), text, text+"  /more/: {session: off}\n")
	}
}

// benchmarkReload takes turns with two stack files.
func benchmarkReload(b *testing.B, name string, files ...string) {
	b.Run(name, func(b *testing.B) {
		dir := b.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "site"), 0o700); err != nil {
			b.Fatal(err)
		}
		p := &program{registry: registry.Compiled(), out: &output{}, err: &output{}}
		l := &loader{program: p, file: filepath.Join(dir, "stack.yaml"), log: slog.New(slog.DiscardHandler), assigned: true}
		l.runtime = serve.New(serve.Options{Load: l.load, Logger: l.log})
		var current serve.Generation
		reload := func(turn int) {
			if err := os.WriteFile(l.file, []byte(files[turn%2]), 0o600); err != nil {
				b.Fatal(err)
			}
			next, err := l.load(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			next.Current(uint64(turn + 1))
			if current.Close != nil {
				b.StopTimer() // it is after the swap
				if err := current.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			current = next
		}
		reload(0)
		turn := 0
		b.ReportAllocs()
		for b.Loop() {
			turn++
			reload(turn)
		}
		if err := current.Close(); err != nil {
			b.Fatal(err)
		}
	})
}
