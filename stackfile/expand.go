package stackfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxSecretFile bounds what ${file:path} reads.
const maxSecretFile = 1 << 20

// expander replaces ${env:NAME}, ${env:NAME:-default} and ${file:path} in scalars, and $$ by
// a dollar. A dollar before anything else stays as it is.
type expander struct {
	dir string // what relative paths start from
	env func(name string) (string, bool)
	// note is told of each file that is read, or tried: the stack depends on it.
	note func(path string)
	disk *disk
	// size counts the bytes that references stood for, in all files together.
	size *int
}

// maxExpanded bounds what all references together stand for. Each takes what it stands for to itself.
const maxExpanded = 8 << 20

// take counts what a reference stands for.
func (e *expander) take(size int) error {
	if *e.size += size; *e.size > maxExpanded {
		return fmt.Errorf("with it what ${…} stands for has more than %d MiB in all; it must have less", maxExpanded>>20)
	}
	return nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (e *expander) expand(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			inside, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", errors.New(`"${" has no "}" after it; write $$ for a dollar`)
			}
			text, err := e.replace(inside)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			s = rest
		default:
			b.WriteByte('$')
			s = after
		}
	}
}

func (e *expander) replace(inside string) (string, error) {
	scheme, arg, _ := strings.Cut(inside, ":")
	switch scheme {
	case "env":
		name, fallback, hasFallback := strings.Cut(arg, ":-")
		if !envName.MatchString(name) {
			return "", fmt.Errorf("%q is not the name of an environment variable; it must be like ${env:NAME} or ${env:NAME:-default}", name)
		}
		if text, set := e.env(name); set && (text != "" || !hasFallback) {
			return text, e.take(len(text))
		}
		if !hasFallback {
			return "", fmt.Errorf("the environment variable %s is not set; set it, or give a default: ${env:%s:-default}", name, name)
		}
		return fallback, nil
	case "file":
		path := arg
		if path == "" {
			return "", errors.New("${file:} has no path; it must be like ${file:/run/secrets/password}")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.dir, path)
		}
		if err := e.take(0); err != nil {
			return "", err // without reading more
		}
		e.note(path)
		data, err := e.disk.read(path, readSmall)
		if err != nil {
			return "", fmt.Errorf("${file:%s} can't be read: %w", arg, plainError(err))
		}
		if err := e.take(len(data)); err != nil {
			return "", err
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
	return "", fmt.Errorf("%q is neither ${env:NAME} nor ${file:path}; write $$ for a dollar", "${"+inside+"}")
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxSecretFile:
		return nil, fmt.Errorf("it is larger than %d MiB", maxSecretFile>>20)
	}
	data, err := os.ReadFile(path)
	if err == nil && bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("it is not a text")
	}
	return data, err
}

// plainError leaves the operation and path out of a file error, where the message says
// them already.
func plainError(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
