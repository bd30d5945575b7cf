package tests

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// topLevel are the only names at the root of the repository, besides those that start with a dot.
var topLevel = []string{
	"LICENSE", "README.md", "cmd", "components", "go.mod", "go.sum", "registry", "schema", "stackfile", "stacks", "tests",
}

// strangers returns the top-level names of the files that have no place there.
func strangers(files []string) (found []string) {
	for _, file := range files {
		top := prefix(file, 1)
		if !strings.HasPrefix(top, ".") && !slices.Contains(topLevel, top) && !slices.Contains(found, top) {
			found = append(found, top)
		}
	}
	return found
}

// machinePaths returns the folders that the text mentions as absolute paths.
func machinePaths(text []byte, folders []string) (found []string) {
	for _, folder := range folders {
		re := regexp.MustCompile(`(?m)(^|[^\w./-])` + regexp.QuoteMeta(folder) + `(/|[^\w./-]|\.?$)`)
		if re.Match(text) {
			found = append(found, folder)
		}
	}
	return found
}

// superuser is root's home, in two parts since this file is looked at too.
const superuser = "/" + "root"

// folders returns which of the machine's folders can be told from an ordinary path or URL in a text: those at least two
// deep, and root's home.
func folders(dirs ...string) (told []string) {
	for _, dir := range dirs {
		dir = filepath.ToSlash(filepath.Clean(dir))
		if strings.Count(dir, "/") > 1 || dir == superuser {
			told = append(told, dir)
		}
	}
	return told
}

func TestRepository(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".git")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the tree is not a checkout, so that nothing tells which files belong to it")
	}
	cmd := exec.CommandContext(t.Context(), peer(t, "git"), "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })

	t.Run("top-level names", func(t *testing.T) {
		for _, name := range strangers(files) {
			t.Errorf("%s is not one of %s", name, strings.Join(topLevel, ", "))
		}
	})
	t.Run("no path of this machine", func(t *testing.T) {
		checkout, err := filepath.Abs(root)
		if err != nil {
			t.Fatal(err)
		}
		machine := folders(checkout, os.Getenv("HOME"))
		for _, file := range files {
			info, err := os.Lstat(filepath.Join(root, file))
			if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
				continue // deleted, but not yet committed; or a link, whose file is looked at itself
			}
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, folder := range machinePaths(text, machine) {
				t.Errorf("%s mentions %s, which is only on this machine", file, folder)
			}
		}
	})
}

func TestRepositoryBroken(t *testing.T) {
	t.Run("top-level names", func(t *testing.T) {
		got := strangers([]string{"README.md", ".ci/run", "cmd/stackd/main.go", "pkg/a.go", "pkg/b.go", "TODO", "docs/x/y.md", "cmdline/a.go"})
		if diff := cmp.Diff([]string{"pkg", "TODO", "docs", "cmdline"}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("folders told", func(t *testing.T) {
		got := folders("/home/ann/stackd", "/home/ann/", superuser, "/src", "/", "")
		if diff := cmp.Diff([]string{"/home/ann/stackd", "/home/ann", superuser}, got); diff != "" {
			t.Error(diff)
		}
	})
	for _, tt := range []struct {
		name, text string
		found      bool
	}{
		{"a file", `open("/home/ann/x.go")`, true},
		{"the folder alone", "cd /home/ann\n", true},
		{"the end of a sentence", "It lies in /home/ann.", true},
		{"the start", "/home/ann/x", true},
		{"in a path list", "PATH=/bin:/home/ann/bin", true},
		{"another folder", "/home/anna/x and /home/ann.bak/y", false},
		{"below another", "/mnt/home/ann/x", false},
		{"the path of a URL", "http://example.org/home/ann/", false},
		{"relative", "testdata/home/ann/x and ./home/ann/", false},
	} {
		t.Run("machine path/"+tt.name, func(t *testing.T) {
			if got := machinePaths([]byte(tt.text), []string{"/home/ann"}); (len(got) > 0) != tt.found {
				t.Errorf("machinePaths(%q) = %q, want found %v", tt.text, got, tt.found)
			}
		})
	}
}
