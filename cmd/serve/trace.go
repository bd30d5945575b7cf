package serve

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// trace walks a path, link by link, and calls visit with every folder and the name in it whose
// change may make the path lead to something else: the folders of the links on the way,
// and the folder of what it leads to. If a part of it is missing, the walk ends there: visit has
// been told where it would appear. If the path leads to a folder, visit is called for the
// folder itself with no name.
func trace(path string, visit func(folder, name string)) {
	root := filepath.VolumeName(path) + string(filepath.Separator)
	folder, rest, links := root, parts(path), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			folder = filepath.Dir(folder)
			continue
		}
		full := filepath.Join(folder, name)
		info, err := os.Lstat(full)
		switch {
		case err != nil:
			visit(folder, name)
			return
		case info.Mode().Type() == fs.ModeSymlink:
			visit(folder, name)
			target, err := os.Readlink(full)
			if links++; err != nil || links > maxLinks {
				return
			}
			if filepath.IsAbs(target) {
				folder = root
			}
			rest = append(parts(target), rest...)
		case len(rest) > 0:
			folder = full
		default:
			visit(folder, name)
			if info.IsDir() {
				visit(full, "")
			}
		}
	}
}

// parts splits a path at its separators; empty parts and dots are left out.
func parts(path string) []string {
	var all []string
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if part != "" && part != "." {
			all = append(all, part)
		}
	}
	return all
}
