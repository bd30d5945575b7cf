package template

import (
	"errors"
	"fmt"
	html "html/template"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/template/parse"
	"time"
)

// library is the folder of layouts, as it changes on disk.
type library struct {
	folder     string // empty when there is none
	revalidate time.Duration

	last   atomic.Pointer[look]
	mu     sync.Mutex // held while looking at the folder, over all that follows
	root   *os.Root
	info   fs.FileInfo // root's, to tell when it was exchanged
	files  []shared    // as they were when they were read
	read   time.Time   // when that was
	parsed *edition    // what last.edition was before an error
}

// look is what the folder was at a time.
type look struct {
	*edition
	at time.Time
}

// edition is one state of the shared files. It never changes but for its cache.
type edition struct {
	files []shared // by name

	mu   sync.Mutex
	sets map[string]*html.Template // by layout
}

// shared is a file in the library.
type shared struct {
	name   string
	info   fs.FileInfo
	source source
}

// open opens the folder that is at its path now, in place of the one before, if there was one.
func (l *library) open() error {
	root, err := os.OpenRoot(l.folder)
	if err != nil {
		return err
	}
	info, err := root.Stat(".")
	if err != nil {
		return errors.Join(err, root.Close())
	}
	if l.root != nil {
		err = l.root.Close()
	}
	l.root, l.info = root, info
	return err
}

// current returns the shared files, from the disk if the last look is too old.
func (l *library) current() (*edition, error) {
	now := time.Now()
	if last := l.last.Load(); last != nil && l.fresh(last, now) {
		return last.edition, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := l.last.Load(); last != nil && l.fresh(last, now) {
		return last.edition, nil // another request looked meanwhile
	}
	if err := l.look(now); err != nil {
		return nil, fmt.Errorf("layouts: %w", err)
	}
	l.last.Store(&look{edition: l.parsed, at: now})
	return l.parsed, nil
}

// look reads the files anew when they may have changed.
func (l *library) look(now time.Time) error {
	if l.folder != "" {
		// Where none is for the moment, the one that was there is as good as any.
		if info, err := os.Stat(l.folder); err == nil && !os.SameFile(info, l.info) {
			if err := l.open(); err != nil {
				return err
			}
		}
	}
	files, err := l.list()
	if err != nil || l.parsed != nil && slices.EqualFunc(l.files, files, l.unchanged) {
		return err
	}
	for i := range files {
		text, err := fs.ReadFile(l.root.FS(), files[i].name)
		if err != nil {
			return err
		}
		files[i].source = source{
			name: filepath.Base(l.folder) + "/" + files[i].name,
			file: filepath.Join(l.folder, filepath.FromSlash(files[i].name)),
			text: string(text),
		}
	}
	sameText := func(a, b shared) bool { return a.source == b.source }
	if l.parsed == nil || !slices.EqualFunc(l.files, files, sameText) {
		l.parsed = &edition{files: files, sets: make(map[string]*html.Template)}
	}
	l.files, l.read = files, now
	return nil
}

// unchanged reports whether is what was read. A file that was read in the moment in which it changed may be of before,
// whatever the times say.
func (l *library) unchanged(was, is shared) bool {
	settled := l.read.Sub(was.info.ModTime()) > 2*time.Second
	return settled && was.name == is.name && was.info.Size() == is.info.Size() &&
		was.info.ModTime().Equal(is.info.ModTime()) && os.SameFile(was.info, is.info)
}

func (l *library) fresh(last *look, now time.Time) bool {
	return l.folder == "" || now.Sub(last.at) < l.revalidate
}

// list returns the files in the folder by name, without their text.
func (l *library) list() ([]shared, error) {
	if l.folder == "" {
		return nil, nil
	}
	var files []shared
	tree := l.root.FS()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "#") || strings.HasSuffix(base, "~")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := fs.Stat(tree, name) // follows a link, which the entry doesn't
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile, or a link to nowhere
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			files = append(files, shared{name: name, info: info})
		}
		return nil
	})
	slices.SortFunc(files, func(a, b shared) int { return strings.Compare(a.name, b.name) })
	return files, err
}

// set returns the shared templates for pages in a layout, or in none, for the caller
// to keep.
func (e *edition) set(layout string) (*html.Template, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sets[layout] == nil {
		set, err := e.parse(layout)
		if err != nil {
			return nil, err
		}
		e.sets[layout] = set
	}
	return e.sets[layout].Clone()
}

func (e *edition) parse(layout string) (*html.Template, error) {
	set := html.New("").Funcs(functions())
	var top *shared
	for i := range e.files {
		if e.files[i].name == layout {
			top = &e.files[i] // last, since its blocks win over the other files'
			continue
		}
		if err := e.add(set, &e.files[i]); err != nil {
			return nil, err
		}
	}
	if layout == "" {
		return set, nil
	}
	if top == nil {
		return nil, fmt.Errorf("%w: it is %q; %s", errNoLayout, layout, e.choices())
	}
	return set, e.add(set, top)
}

var errNoLayout = errors.New("the layout isn't in the folder layouts")

func (e *edition) choices() string {
	if len(e.files) == 0 {
		return "there are no layouts"
	}
	names := make([]string, len(e.files))
	for i, f := range e.files {
		names[i] = f.name
	}
	return "it must be one of " + strings.Join(names, ", ")
}

func (e *edition) add(set *html.Template, f *shared) error {
	body, definitions, err := f.source.parse()
	if err != nil {
		return trace(err, e.sources(), nil)
	}
	definitions[f.name] = body
	return addTrees(set, definitions)
}

// sources returns the shared files by the names that errors call them.
func (e *edition) sources() map[string]source {
	sources := make(map[string]source, len(e.files)+1)
	for _, f := range e.files {
		sources[f.source.name] = f.source
	}
	return sources
}

// addTrees adds templates in the order of their names, so that errors don't vary.
func addTrees(set *html.Template, trees map[string]*parse.Tree) error {
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		if _, err := set.AddParseTree(name, trees[name]); err != nil {
			return err
		}
	}
	return nil
}
