package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// changing are system calls that change something outside of the process, or reach for a network.
var changing = regexp.MustCompile(`^(?:\d+ +)?(?:(socket|connect|bind|listen|accept4?|sendto|sendmsg|socketpair)\(` +
	`|(open|openat|openat2|creat)\(.*O_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)` +
	`|(creat|mkdir|mkdirat|rmdir|unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|chmod|fchmod|fchmodat2?|chown|fchownat|lchown|truncate|ftruncate|mknod|mknodat|utimensat|setxattr|mount|kill|tgkill)\()`)

// calls returns those of a command's system calls that change something, and what it prints.
func calls(t *testing.T, args ...string) (found []string, output string) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	out, err := exec.CommandContext(t.Context(), peer(t, "strace"), append([]string{"-f", "-qq", "-e", "trace=%file,%network,%process,ftruncate,fchmod,fchown", "-o", trace, "--"}, args...)...).CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended { //nolint:errorlint // nothing wraps it
		t.Fatal(err)
	}
	log, err := os.ReadFile(trace)
	if err != nil || len(log) == 0 {
		t.Fatalf("nothing was traced: %v\n%s", err, out)
	}
	if !strings.Contains(string(log), "execve(") {
		t.Fatalf("the program wasn't traced:\n%s", log)
	}
	programs := 0
	for line := range strings.Lines(string(log)) {
		// The runtime interrupts its own threads.
		if changing.MatchString(line) && !strings.Contains(line, "SIGURG") {
			found = append(found, strings.TrimSpace(line))
		}
		if strings.Contains(line, " execve(") {
			if programs++; programs > 1 {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found, string(out)
}

// A check opens no socket and no file for writing, whatever is in the files.
func TestCheckIsPure(t *testing.T) {
	program := built(t)
	stacks := copyStacks(t)
	dir := t.TempDir()
	for file := range corpus(t) {
		if err := os.WriteFile(filepath.Join(dir, file.name+".yaml"), file.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, folder, says string }{
		{"stacks", stacks, "webware.yaml: good"},
		{"corpus", dir, "; it must be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			made, out := calls(t, program, "check", tt.folder)
			contains(t, "the check", out, tt.says)
			for _, call := range made {
				t.Error(call)
			}
		})
	}
	// The trace would have shown it: looking at the machine takes sockets, and still nothing is written.
	t.Run("environment", func(t *testing.T) {
		sockets := 0
		made, _ := calls(t, program, "check", "--environment", filepath.Join(stacks, "webware.yaml"))
		for _, call := range made {
			if !strings.Contains(call, "socket(") && !strings.Contains(call, "bind(") && !strings.Contains(call, "listen(") {
				t.Error(call)
			}
			sockets++
		}
		if sockets == 0 {
			t.Error("the trace shows no socket where there must be one")
		}
	})
}

// stackFile is one stack file of the loader's corpus.
type stackFile struct {
	name string
	data []byte
}

// corpus yields the stack files that the loader is tested with, good and bad.
func corpus(t *testing.T) func(yield func(stackFile) bool) {
	t.Helper()
	var archives []string
	for _, folder := range []string{"corpus", "rules"} {
		found, err := filepath.Glob(filepath.Join(root, "stackfile/testdata", folder, "*.txtar"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no corpus: %v", err)
		}
		archives = append(archives, found...)
	}
	return func(yield func(stackFile) bool) {
		for _, path := range archives {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(filepath.Base(path), ".txtar")
			for _, f := range archive.Files {
				if filepath.Ext(f.Name) == ".yaml" && filepath.Dir(f.Name) == "." && !yield(stackFile{base + "-" + strings.TrimSuffix(f.Name, ".yaml"), f.Data}) {
					return
				}
			}
		}
	}
}

// What check refuses, run refuses with the same words. The other half, that run takes what check does, is for the
// tests of the stacks, which run each of them, and of the loader, which build its whole corpus.
func TestCheckIsRun(t *testing.T) {
	program := built(t)
	dir := t.TempDir()
	refused := 0
	for file := range corpus(t) {
		path := filepath.Join(dir, file.name+".yaml")
		if err := os.WriteFile(path, file.data, 0o600); err != nil {
			t.Fatal(err)
		}
		checked, err := exec.CommandContext(t.Context(), program, "check", path).Output()
		if err == nil {
			continue
		}
		refused++
		t.Run(file.name, func(t *testing.T) {
			var run strings.Builder
			c := exec.CommandContext(t.Context(), program, "run", path)
			c.Stderr = &run
			if err := c.Run(); err == nil || c.ProcessState.ExitCode() != 1 {
				t.Errorf("check refuses it, and run ends with %v", err)
			}
			var errors []string
			for line := range strings.Lines(string(checked)) {
				if !strings.Contains(line, ": warning: ") {
					errors = append(errors, line)
				}
			}
			if want := strings.Join(errors, ""); run.String() != want {
				t.Errorf("check says\n%s\nand run\n%s", want, run.String())
			}
		})
	}
	if refused < 100 {
		t.Errorf("check refuses %d files of the corpus only", refused)
	}
}

// The stacks that come with the program are as they should be, by the command lines that the README has for CI.
func TestReadmeChecks(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)stackd(?:@latest)? (check --deny-warnings.*?)(?: stack\.yaml)?$`).FindAllSubmatch(readme, -1)
	if len(lines) != 2 {
		t.Fatalf("the README has %d command lines for CI", len(lines))
	}
	for _, line := range lines {
		t.Run(string(line[1]), func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), built(t), append(strings.Fields(string(line[1])), filepath.Join(root, "stacks"))...).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
