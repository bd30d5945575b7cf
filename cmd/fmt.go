package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/stackd/stackd/stackfile"
)

func (p *program) format() *cobra.Command {
	var write, show bool
	c := &cobra.Command{
		Use:   "fmt [-w|-d] FILE...",
		Short: "Write stack files in their one canonical form",
		Long: `fmt prints a stack file in its canonical form: two spaces of indentation, keys
in the order of the manual, aligned comments. It says the same as before, and
comments, quotes and blank lines stay. The name - stands for the standard
input.

With -w it changes the files instead, and prints the names of those that it
changed. With -d it prints what would change, and exits with 1 if anything
would.`,
		Example:           "  stackd fmt -w stack.yaml\n  stackd fmt -d *.yaml",
		ValidArgsFunction: yamlFiles,
		Args:              wants(1, -1, "fmt wants a stack file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !write && !show && len(args) > 1 {
				return errors.New("fmt prints one file; to change several, add -w, to see what would change, -d")
			}
			if write && slices.Contains(args, "-") {
				return errors.New("the standard input can't be changed; leave -w out")
			}
			bad := false
			for _, name := range args {
				good, err := p.formatFile(name, write, show)
				if err != nil {
					p.problems(p.err, err)
				}
				bad = bad || err != nil || !good
			}
			if bad {
				return &failed{}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "change the files")
	c.Flags().BoolVarP(&show, "diff", "d", false, "print what would change, and exit with 1 if anything would")
	c.MarkFlagsMutuallyExclusive("write", "diff")
	return c
}

// formatFile formats one file. It isn't good when show finds something to change.
func (p *program) formatFile(name string, write, show bool) (good bool, err error) {
	data, shown, err := p.text(name)
	if err != nil {
		return false, err
	}
	out, err := stackfile.Format(p.registry, shown, data)
	if err != nil {
		return false, err
	}
	same := bytes.Equal(data, out)
	switch {
	case show:
		if !same {
			p.out.printf("%s", diff.Diff(shown, data, shown+" formatted", out))
		}
		return same, nil
	case !write:
		p.out.printf("%s", out)
	case !same:
		if err := rewrite(name, out); err != nil {
			return false, err
		}
		p.out.printf("%s\n", name)
	}
	return true, nil
}

// text returns the content of a file, or of the standard input for -, and the name to be shown for it.
func (p *program) text(name string) (data []byte, shown string, err error) {
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(p.in, stackfile.MaxFile+1))
		return data, "standard input", err
	}
	if data, err = stackfile.ReadFile(name); err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return data, name, err
}

// rewrite puts new content in the place of a file, which is never half written. A link goes on to lead to it.
func rewrite(name string, data []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("%s is as it was: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
