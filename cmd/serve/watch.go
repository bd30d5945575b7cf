package serve

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A change is reported when nothing more happened for quiet, and after most in any case.
const (
	quiet = 100 * time.Millisecond
	most  = time.Second
)

// watcher reports which files have another content than before.
//
// It watches folders, not files: a file that is written anew and renamed over the old one is
// another file, and a watch on the old one would go with it.
type watcher struct {
	log     *slog.Logger
	changed chan struct{} // has a token while take has something to give

	notify  *fsnotify.Watcher // nil if the system gives none
	touched chan struct{}     // has a token when something of interest happened
	ended   sync.WaitGroup
	stop    chan struct{}

	// names are the paths whose events are of interest: true for the folders of which every
	// event is. Another map takes its place at each change, so that events are
	// taken in without waiting.
	names atomic.Pointer[map[string]bool]

	mu      sync.Mutex
	seen    map[string]string // by file: its fingerprint when it was last looked at
	folders []string          // watched now
	refused map[string]bool   // folders that can't be watched, and the log has been told
	pending []string          // files to report
}

// newWatcher starts to watch nothing. If the system has no watches left, that is logged, and the
// watcher never reports anything.
func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{
		log:     log,
		changed: make(chan struct{}, 1),
		touched: make(chan struct{}, 1),
		stop:    make(chan struct{}),
		seen:    make(map[string]string),
		refused: make(map[string]bool),
	}
	w.names.Store(&map[string]bool{})
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files can't be watched; reload with SIGHUP", slog.Any("err", err))
		return w
	}
	w.notify = notify
	w.ended.Go(w.listen)
	w.ended.Go(w.settle)
	return w
}

// close ends the watcher.
func (w *watcher) close() {
	if w.notify == nil {
		return
	}
	close(w.stop)
	if err := w.notify.Close(); err != nil {
		w.log.Warn("closing the file watch", slog.Any("err", err))
	}
	w.ended.Wait()
}

// set watches these files and no others. A file that was watched before is compared with what
// it was then. One that was not is compared with itself, unless it was written after since, when
// somebody may have read what it was before: then it is reported.
func (w *watcher) set(files []string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.seen
	w.seen = make(map[string]string, len(files))
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			w.log.Warn("file can't be watched", slog.String("file", file), slog.Any("err", err))
			continue
		}
		w.seen[path] = ""
	}
	w.follow()
	now := time.Now()
	for path := range w.seen {
		old, known := before[path]
		if known {
			w.seen[path] = old
			continue
		}
		w.seen[path] = fingerprint(path)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() &&
			!info.ModTime().Before(since) && !info.ModTime().After(now) {
			w.report(path)
		}
	}
}

// add watches these files too.
func (w *watcher) add(files []string, since time.Time) {
	w.mu.Lock()
	all := slices.AppendSeq(slices.Clone(files), maps.Keys(w.seen))
	w.mu.Unlock()
	w.set(all, since)
}

// take returns the files that have changed since it was last called.
func (w *watcher) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := w.pending
	w.pending = nil
	slices.Sort(files)
	return slices.Compact(files)
}

// report makes take return the file. The caller holds mu.
func (w *watcher) report(file string) {
	w.pending = append(w.pending, file)
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// listen picks the events of interest. It never waits for mu: whoever holds that may be waiting for
// fsnotify, which waits until its events are taken.
func (w *watcher) listen() {
	for {
		select {
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			names, path := *w.names.Load(), filepath.Clean(event.Name)
			if _, named := names[path]; !named && !names[filepath.Dir(path)] {
				continue
			}
		case err, ok := <-w.notify.Errors:
			if !ok {
				return
			}
			// Events may have been lost, so look at everything.
			w.log.Warn("watching files", slog.Any("err", err))
		case <-w.stop:
			return
		}
		select {
		case w.touched <- struct{}{}:
		default:
		}
	}
}

// settle compares the files when events have come and calmed down.
func (w *watcher) settle() {
	var calm debounce
	for {
		select {
		case <-w.touched:
			calm.touch()
		case <-calm.over():
			calm = debounce{}
			w.compare()
		case <-w.stop:
			return
		}
	}
}

// compare looks at all files.
func (w *watcher) compare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.follow()
	for path, old := range w.seen {
		if now := fingerprint(path); now != old {
			w.seen[path] = now
			w.report(path)
		}
	}
}

// follow watches the folders that the paths lead through now. The caller holds mu.
//
// What is made in a folder before its watch is there tells nobody; so the walk is repeated until
// it finds nothing new.
func (w *watcher) follow() {
	if w.notify == nil {
		return
	}
	for {
		names := make(map[string]bool)
		var folders []string
		for path := range w.seen {
			trace(path, func(folder, name string) {
				folders = append(folders, folder)
				if _, ok := names[folder]; !ok {
					names[folder] = false // its own end
				}
				if name == "" {
					names[folder] = true
				} else if full := filepath.Join(folder, name); !names[full] {
					names[full] = false
				}
			})
		}
		slices.Sort(folders)
		folders = slices.Compact(folders)
		w.names.Store(&names)
		again := false
		for _, folder := range folders {
			again = again || !slices.Contains(w.folders, folder)
			w.attach(folder)
		}
		for _, gone := range w.folders {
			if !slices.Contains(folders, gone) {
				_ = w.notify.Remove(gone) // it may have gone by itself
			}
		}
		w.folders = folders
		if !again {
			return
		}
	}
}

// attach watches a folder. If it is watched already, that does no harm; if another folder of
// that name has taken its place, that is watched.
func (w *watcher) attach(folder string) {
	err := w.notify.Add(folder)
	switch {
	case err == nil:
		delete(w.refused, folder)
	case !w.refused[folder] && !errors.Is(err, fs.ErrNotExist):
		w.refused[folder] = true
		w.log.Warn("changes in a folder won't be seen; reload with SIGHUP", slog.String("folder", folder), slog.Any("err", err))
	}
}

// fingerprint tells contents apart: of a file its bytes, of a folder the names in it, and of
// what is not there or can't be read, why.
func fingerprint(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "no: " + why(err)
	case info.IsDir():
		entries, err := os.ReadDir(path)
		if err != nil {
			return "no: " + why(err)
		}
		var names strings.Builder
		for _, e := range entries {
			names.WriteString(e.Name())
			names.WriteByte(0)
		}
		return "folder: " + digest(strings.NewReader(names.String()))
	case !info.Mode().IsRegular():
		return "no: not a file" // and reading it might never end
	}
	f, err := os.Open(path)
	if err != nil {
		return "no: " + why(err)
	}
	defer f.Close()
	return "file: " + digest(f)
}

// digest hashes what r has.
func digest(r io.Reader) string {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return why(err)
	}
	return string(h.Sum(nil))
}

// why is the error without the path, which may differ along the way to the same thing.
func why(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// debounce waits for a burst of events to end. The zero value waits for nothing.
type debounce struct {
	timer *time.Timer
	last  time.Time // when it ends in any case
}

// touch notes an event.
func (d *debounce) touch() {
	now := time.Now()
	if d.timer == nil {
		d.timer = time.NewTimer(quiet)
		d.last = now.Add(most)
		return
	}
	d.timer.Reset(min(quiet, d.last.Sub(now)))
}

// over is ready when the burst has ended.
func (d *debounce) over() <-chan time.Time {
	if d.timer == nil {
		return nil
	}
	return d.timer.C
}
