package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// folder is the folder with the pages. One goroutine of each process works on it.
type folder struct {
	root     *os.Root
	maxFiles int
	maxAge   time.Duration
	maxSize  int64
	log      *slog.Logger
}

// sweep is how often old pages are looked for while nothing happens.
const sweep = 10 * time.Minute

// run writes what comes until ctx ends, and then what is there.
func (f *folder) run(ctx context.Context, queue <-chan *failure.Incident) {
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	f.tidy(ctx)
	for {
		select {
		case i := <-queue:
			f.write(ctx, i)
			// A flood is written as it comes, and tidied up after in one go.
			f.drain(ctx, queue, cap(queue))
		case <-ticker.C:
		case <-ctx.Done():
			f.drain(ctx, queue, cap(queue))
			f.tidy(ctx)
			return
		}
		f.tidy(ctx)
	}
}

// drain writes what waits, most at most, without waiting for more.
func (f *folder) drain(ctx context.Context, queue <-chan *failure.Incident, most int) {
	for range most {
		select {
		case i := <-queue:
			f.write(ctx, i)
		default:
			return
		}
	}
}

func (f *folder) write(ctx context.Context, i *failure.Incident) {
	if err := f.save(i); err != nil {
		f.log.LogAttrs(ctx, slog.LevelError, "incident not written", slog.String("incident", i.ID), slog.String("error", err.Error()))
	}
}

// save makes the page whole before it gets its name, so that nobody reads half of one.
func (f *folder) save(i *failure.Incident) error {
	var page bytes.Buffer
	if err := write(&page, i); err != nil {
		return err
	}
	name := nameOf(i)
	for n := 2; ; n++ {
		// A request may have several failures, all under its id.
		if _, err := f.root.Lstat(name + ".html"); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		name = fmt.Sprintf("%s-%d", nameOf(i), n)
	}
	draft := "." + name + ".new"
	err := f.root.WriteFile(draft, page.Bytes(), 0o600)
	if err == nil {
		err = f.root.Rename(draft, name+".html")
	}
	if err != nil {
		_ = f.root.Remove(draft) // err says more
	}
	return err
}

// stamp is how a name begins.
const stamp = "20060102T150405Z"

// ours are the names that save gives.
var ours = regexp.MustCompile(`^\d{8}T\d{6}Z-[A-Za-z0-9]+(-\d+)?\.html$`)

// nameOf is the name for the page of an incident, without its extension.
func nameOf(i *failure.Incident) string {
	id := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, i.ID)
	if len(id) > 64 {
		id = id[:64]
	}
	if id == "" {
		id = "unnamed"
	}
	return i.Time.UTC().Format(stamp) + "-" + id
}

// tidy removes the oldest pages as long as there are too many.
func (f *folder) tidy(ctx context.Context) {
	if err := f.remove(time.Now()); err != nil {
		f.log.LogAttrs(ctx, slog.LevelError, "old incidents not removed", slog.String("error", err.Error()))
	}
}

func (f *folder) remove(now time.Time) error {
	entries, err := fs.ReadDir(f.root.FS(), ".") // sorted by name
	if err != nil {
		return err
	}
	// The names sort by time; the latest come first.
	slices.Reverse(entries)
	var kept int
	var size int64
	full := false
	var errs []error
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !ours.MatchString(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was faster
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		size += info.Size()
		full = full || kept == f.maxFiles || size > f.maxSize && kept > 0
		if full || f.maxAge > 0 && now.Sub(info.ModTime()) > f.maxAge {
			if err := f.root.Remove(entry.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		kept++
	}
	return errors.Join(errs...)
}
