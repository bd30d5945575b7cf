package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// command runs a program in the folder.
func (s site) command(name string, args ...string) {
	s.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// write writes a file in place.
func (s site) write(name string, data []byte) {
	s.t.Helper()
	s.must(os.WriteFile(s.join(name), data, 0o644))
}

// TestFollows proves that the program follows its file however it is saved: from one generation to the next.
func TestFollows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// prepare changes the site before the program is started, when it answers "one"; nil for nothing.
		prepare func(s site)
		// saves each make it answer another text: "two", "three".
		saves []func(s site)
	}{
		{"in place", nil, []func(s site){
			func(s site) { s.write("stack.yaml", s.stack("two", "")) },
			func(s site) { s.write("stack.yaml", s.stack("three", "")) },
		}},
		{"by another file that is renamed", nil, []func(s site){
			func(s site) { s.save("two", "") },
			func(s site) { s.save("three", "") },
		}},
		{"by sed", nil, []func(s site){
			func(s site) { s.command("sed", "-i", "s/one/two/", "stack.yaml") },
			func(s site) { s.command("sed", "-i.bak", "s/two/three/", "stack.yaml") },
		}},
		{"by git", func(s site) {
			peer(s.t, "git")
			s.command("git", "init", "-q")
			for _, text := range []string{"three", "two", "one"} {
				s.save(text, "")
				s.command("git", "add", "stack.yaml")
				s.command("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", text)
				s.command("git", "tag", text)
			}
		}, []func(s site){
			func(s site) { s.command("git", "checkout", "-q", "two") },
			func(s site) { s.command("git", "reset", "-q", "--hard", "three") },
		}},
		{"by vim", nil, []func(s site){
			func(s site) {
				s.write(".stack.yaml.swp", []byte("swap"))
				s.write("4913", nil) // whether files can be made there
				s.must(os.Remove(s.join("4913")))
				s.must(os.Rename(s.join("stack.yaml"), s.join("stack.yaml~")))
				s.write("stack.yaml", s.stack("two", ""))
				s.must(os.Chmod(s.join("stack.yaml"), 0o600))
				s.must(os.Remove(s.join("stack.yaml~")))
				s.must(os.Remove(s.join(".stack.yaml.swp")))
			},
			func(s site) { // with backupcopy=yes
				s.write("stack.yaml~", s.stack("two", ""))
				s.write("stack.yaml", s.stack("three", ""))
				s.must(os.Remove(s.join("stack.yaml~")))
			},
		}},
		{"by emacs", nil, []func(s site){
			func(s site) {
				s.must(os.Symlink("user@host.1:1", s.join(".#stack.yaml")))
				s.write("#stack.yaml#", s.stack("two", ""))
				s.must(os.Rename(s.join("stack.yaml"), s.join("stack.yaml~"))) // only the first save of a session
				s.write("stack.yaml", s.stack("two", ""))
				s.must(os.Remove(s.join("#stack.yaml#")))
				s.must(os.Remove(s.join(".#stack.yaml")))
			},
			func(s site) { s.write("stack.yaml", s.stack("three", "")) },
		}},
		{"by nano", nil, []func(s site){
			func(s site) {
				s.write(".stack.yaml.swp", []byte("lock"))
				s.write("stack.yaml", s.stack("two", ""))
				s.must(os.Remove(s.join(".stack.yaml.swp")))
			},
			func(s site) { s.write("stack.yaml", s.stack("three", "")) },
		}},
		{"by Kubernetes", func(s site) {
			s.must(os.Mkdir(s.join("..2026_11_22_10_00_00.1"), 0o755))
			s.must(os.Rename(s.join("stack.yaml"), s.join("..2026_11_22_10_00_00.1/stack.yaml")))
			s.must(os.Symlink("..2026_11_22_10_00_00.1", s.join("..data")))
			s.must(os.Symlink("..data/stack.yaml", s.join("stack.yaml")))
		}, []func(s site){
			func(s site) { s.turn("..2026_11_22_10_00_00.1", "..2026_11_22_11_00_00.2", "two") },
			func(s site) { s.turn("..2026_11_22_11_00_00.2", "..2026_11_22_12_00_00.3", "three") },
		}},
		{"after it was empty", nil, []func(s site){
			func(s site) { s.write("stack.yaml", nil); s.write("stack.yaml", s.stack("two", "")) },
			func(s site) { s.write("stack.yaml", nil); s.write("stack.yaml", s.stack("three", "")) },
		}},
		{"after it was deleted", nil, []func(s site){
			func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.write("stack.yaml", s.stack("three", "")) },
		}},
		{"after its folder was deleted", nil, []func(s site){
			func(s site) { s.must(os.RemoveAll(s.dir)); s.make("two") },
			func(s site) { s.must(os.RemoveAll(s.dir)); s.make("three") },
		}},
		{"by a folder that takes the place of another", nil, []func(s site){
			func(s site) { s.release("1", "two") },
			func(s site) { s.release("2", "three") },
		}},
		{"in a file that is extended", func(s site) {
			s.write("base.yaml", s.stack("one", ""))
			s.write("stack.yaml", []byte("extends: base.yaml\n"))
		}, []func(s site){
			func(s site) { s.write("base.yaml", s.stack("two", "")) },
			func(s site) { replace(s.t, s.join("base.yaml"), s.stack("three", "")) },
		}},
		{"in files that are included", func(s site) {
			s.must(os.Mkdir(s.join("urls.d"), 0o755))
			s.save("one", "include: [urls.d/*.yaml]\n")
		}, []func(s site){
			// Renamed, since an included file may well be empty.
			func(s site) { replace(s.t, s.join("urls.d/a.yaml"), []byte("urls: {/: {respond: {body: two}}}\n")) },
			func(s site) {
				replace(s.t, s.join("urls.d/b.yaml"), []byte("urls: {\"/{$}\": {respond: {body: three}}}\n"))
			},
		}},
		{"in a value that is in a file of its own", func(s site) {
			s.write("body", []byte("one"))
			s.save("${file:body}", "")
		}, []func(s site){
			func(s site) { replace(s.t, s.join("body"), []byte("two")) },
			func(s site) { replace(s.t, s.join("body"), []byte("three")) },
		}},
		{"through a bind mount, which tells nobody", func(s site) {
			away := filepath.Join(s.t.TempDir(), "stack.yaml")
			s.must(os.WriteFile(away, s.stack("one", "reload: {poll: 100ms}\n"), 0o644))
			mount(s.t, away, s.join("stack.yaml"), "", unix.MS_BIND, "")
			s.must(os.Symlink(away, s.join("away")))
		}, []func(s site){
			func(s site) { s.write("away", s.stack("two", "reload: {poll: 100ms}\n")) },
			func(s site) { s.write("away", s.stack("three", "reload: {poll: 100ms}\n")) },
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := site{t, filepath.Join(t.TempDir(), "site")}
			s.make("one")
			if tt.prepare != nil {
				tt.prepare(s)
			}
			run := start(t, s.join("stack.yaml"))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			if got := run.get(client, "/").body; got != "one" {
				t.Fatalf("it answers %q", got)
			}
			for i, save := range tt.saves {
				n := run.seen()
				save(s)
				run.awaitAfter(n, "generation serves", nil)
				if got, want := run.get(client, "/").body, []string{"two", "three"}[i]; got != want {
					t.Errorf("after save %d it answers %q, want %q\n%s", i+1, got, want, run.log())
				}
			}
		})
	}
}

// turn puts a new version in place as the kubelet does with a ConfigMap.
func (s site) turn(from, to, text string) {
	s.t.Helper()
	s.must(os.Mkdir(s.join(to), 0o755))
	s.write(filepath.Join(to, "stack.yaml"), s.stack(text, ""))
	s.must(os.Symlink(to, s.join("..data_tmp")))
	s.must(os.Rename(s.join("..data_tmp"), s.join("..data")))
	s.must(os.RemoveAll(s.join(from)))
}

// release puts another folder in the place of the site's.
func (s site) release(version, text string) {
	s.t.Helper()
	next := site{s.t, s.dir + ".next"}
	next.make(text)
	s.must(os.Rename(s.dir, s.dir+"."+version))
	s.must(os.Rename(next.dir, s.dir))
}
