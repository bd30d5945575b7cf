package accesslog

import (
	"os"
	"path/filepath"
	"sync"
	"time"
)

// file is appended to. It is opened anew when its path leads to another file, or none.
type file struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	f      *os.File // nil when it couldn't be opened
	looked time.Time
}

// lookEvery is how often the path is looked at.
const lookEvery = time.Second

// openFile opens a file, in a folder that it makes if need be.
func openFile(path string, now func() time.Time) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	f := &file{path: path, now: now, looked: now()}
	return f, f.open()
}

func (f *file) open() (err error) {
	f.f, err = os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	return err
}

// Write appends a whole line.
func (f *file) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		if f.moved() {
			_ = f.f.Close() // all that was written to it has been written
			f.f = nil
		}
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	return f.f.Write(line)
}

// moved reports whether the file that is open is no longer the one at the path.
func (f *file) moved() bool {
	if f.f == nil {
		return false
	}
	mine, err := f.f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(f.path)
	return err != nil || !os.SameFile(mine, there)
}

// Close closes the file. Nothing may be written afterwards.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}
