package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// contentOf returns a digest of a file's content, or of a folder's list of files with their
// sizes and times. What is neither, such as a pipe, isn't read: that might never end.
func contentOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "missing"
	}
	h := sha256.New()
	if mode := info.Mode(); !mode.IsDir() && !mode.IsRegular() {
		return mode.Type().String()
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return "unreadable"
		}
		defer f.Close()
		if _, err := io.Copy(h, f); err != nil {
			return "unreadable"
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	if folder, err := filepath.EvalSymlinks(path); err == nil { // WalkDir follows no link, not even the first
		path = folder
	}
	_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintf(h, "%q unreadable\n", name)
			return nil
		}
		if info, err := entry.Info(); err == nil {
			fmt.Fprintf(h, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))
}
