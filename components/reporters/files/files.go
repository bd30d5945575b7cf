// Package files writes a page in HTML about each incident to a folder.
//
// It is what somebody looks at the next morning: the visitor says which incident it was, and the
// page of that name tells what was asked for, what went wrong and where, what the error brought along,
// such as what a script wrote to its standard error, and the way the request took through the stack:
//
//	stack:
//	  - use: errors
//	    reporters: [log, {use: files, folder: var/incidents, max_age: 168h}]
//
// Files are named by the time (UTC) and the incident, such as
// 20260131T094505Z-k7mq2w9xyz.html, and can be read by their owner only. Keep the
// folder out of a site's root. It is made if it isn't there.
//
// # How many are kept
//
// The oldest are removed when there are more than max_files, when they are older than max_age, or when
// all together are larger than max_size. Other files in the folder are left alone. Several processes
// may share the folder.
//
// # What a request waits for
//
// Nothing: pages are written by a goroutine beside. Up to queue incidents wait for it; one more isn't
// written, and the catcher's log says so.
package files

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the files reporter.
var Component = registry.Reporter[Config]{
	Name: "files",
	Default: Config{
		Folder:   "incidents",
		MaxFiles: 1000,
		MaxAge:   30 * 24 * time.Hour,
		MaxSize:  100 << 20,
		Queue:    100,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says where the pages are, and how many are kept.
type Config struct {
	// Folder is where the pages are written, by default the folder incidents beside the stack
	// file.
	Folder registry.Path `yaml:"folder" validate:"required"`
	// MaxFiles is how many pages are kept.
	MaxFiles int `yaml:"max_files" validate:"min=1,max=100000"`
	// MaxAge is how long a page is kept, 0s for as long as there is room.
	MaxAge time.Duration `yaml:"max_age" validate:"min=0s"`
	// MaxSize is how large all pages together may be. The latest one is kept, however
	// large.
	MaxSize registry.Size `yaml:"max_size" validate:"min=1"`
	// Queue is how many incidents may wait to be written.
	Queue int `yaml:"queue" validate:"min=1,max=10000"`
}

func build(env *registry.Env, cfg Config) (failure.Reporter, error) {
	if err := os.MkdirAll(string(cfg.Folder), 0o700); err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	root, err := os.OpenRoot(string(cfg.Folder))
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	env.OnClose(root.Close)
	queue := make(failure.Queue, cfg.Queue)
	f := &folder{root: root, maxFiles: cfg.MaxFiles, maxAge: cfg.MaxAge, maxSize: int64(cfg.MaxSize), log: env.Logger()}
	env.Go(func(ctx context.Context) { f.run(ctx, queue) })
	return queue, nil
}
