package serve

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
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

// unwatched is how often the files are compared where the system doesn't tell of changes.
const unwatched = 2 * time.Second

// large is the size from which on a file's content is told by its size and time alone.
const large = 64 << 20

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

	paced chan struct{} // has a token when rhythm may have changed

	mu      sync.Mutex
	every   time.Duration     // how often to compare the files unasked; 0 for when nobody tells of changes
	seen    map[string]string // by file: its fingerprint when it was last looked at
	folders []string          // watched now
	refused map[string]bool   // folders that can't be watched, and the log has been told
	pending []string          // files to report
}

// newWatcher starts to watch nothing. If the system has no watches left, that is logged, and the
// files are compared from time to time.
func newWatcher(log *slog.Logger) *watcher {
	w := blindWatcher(log)
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files can't be watched, so they are compared from time to time", slog.Duration("every", unwatched), slog.Any("err", err))
	} else {
		w.notify = notify
		w.ended.Go(w.listen)
	}
	w.ended.Go(w.settle)
	return w
}

// blindWatcher never sees anything.
func blindWatcher(log *slog.Logger) *watcher {
	w := &watcher{
		log:     log,
		changed: make(chan struct{}, 1),
		touched: make(chan struct{}, 1),
		paced:   make(chan struct{}, 1),
		stop:    make(chan struct{}),
		seen:    make(map[string]string),
		refused: make(map[string]bool),
	}
	w.names.Store(&map[string]bool{})
	return w
}

// close ends the watcher.
func (w *watcher) close() {
	close(w.stop)
	if w.notify != nil {
		if err := w.notify.Close(); err != nil {
			w.log.Warn("closing the file watch", slog.Any("err", err))
		}
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

// poll says how often the files are compared unasked; 0 is for when nobody tells of changes.
func (w *watcher) poll(every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.every = every
	w.pace()
}

// pace makes settle ask for the rhythm.
func (w *watcher) pace() {
	select {
	case w.paced <- struct{}{}:
	default:
	}
}

// rhythm returns how often the files are compared unasked; 0 for never.
func (w *watcher) rhythm() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.every == 0 && (w.notify == nil || len(w.refused) > 0) {
		return unwatched
	}
	return w.every
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

// settle compares the files when events have come and calmed down, and in the rhythm.
func (w *watcher) settle() {
	var calm debounce
	beat := time.NewTicker(time.Hour)
	beat.Stop()
	defer beat.Stop()
	for last := time.Duration(0); ; {
		if now := w.rhythm(); now != last {
			beat.Stop()
			if last = now; now > 0 {
				beat.Reset(now)
			}
		}
		select {
		case <-w.paced:
		case <-beat.C:
			w.compare()
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
	defer w.pace()
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
				delete(w.refused, gone)
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
		w.log.Warn("a folder can't be watched, so its files are compared from time to time",
			slog.String("folder", folder), slog.Duration("every", cmp.Or(w.every, unwatched)), slog.Any("err", err))
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
	case info.Size() >= large:
		return fmt.Sprint("large: ", info.Size(), info.ModTime())
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
