// Package fastcgi runs scripts in a FastCGI application such as php-fpm.
//
// A script is a file that the finder maps to this factory by its extension. The application runs
// elsewhere; it is told the file's path, and reads the file by itself:
//
//	stack:
//	  - use: finder
//	    root: site
//	    factories:
//	      .php: {use: fastcgi, address: "unix:/run/php/php-fpm.sock"}
//
// # What a script is given
//
// The variables of RFC 3875, as the factory cgi gives them to its scripts: those of the request, those of the settings,
// HTTP_ ones for the fields of its header and STACKD_VAR_ ones for the stack file's vars. SCRIPT_FILENAME and
// DOCUMENT_ROOT are paths on this machine. For an application that has the files elsewhere, as in a
// container, set root.
//
// The body is passed on as it arrives, while the script answers already. One whose length is only known at its
// end (chunked) is first written to a temporary file, because CONTENT_LENGTH must tell it.
//
// # What it answers
//
// A header with at least one of Content-Type, Location and Status, an empty line and a body, which is passed on as it
// comes.
//
// # Connections
//
// Connections are kept open between requests, and each carries one request at a time. An application such as
// php-fpm gives each connection a process for as long as it is open, so max_connections should be at most the
// number of its processes (pm.max_children), and less where others share them. When all are busy a request
// waits for queue_timeout, and is then refused with 503 and Retry-After. One that the application has closed in the
// meantime is replaced. A process that ends after a number of requests (pm.max_requests) may do so in the moment in
// which it is sent the next: that is asked again elsewhere, but for a POST and the like, which may have been heard, and
// is answered with 502. Where that matters, set keep_alive to false, or pm.max_requests to 0.
//
// # When it fails
//
// An application that can't be reached, or breaks off, or answers with what isn't an answer is reported with 502;
// when a part of the body was on its way already the connection to the visitor is cut. A script that for as long as timeout
// neither takes from the body nor writes gives 504. When a visitor has gone away the request is aborted, and its
// connection to the application closed.
//
// What a script writes to its standard error comes with the report. An answer with the status 500 that has
// no body is reported too, as it is what PHP makes of a fatal error when display_errors is off; the message is what it
// wrote to its standard error. After other requests these lines are logged as warnings. Of both, the last 64 KiB
// are kept.
package fastcgi

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the fastcgi factory.
var Component = registry.Factory[Config]{
	Name: "fastcgi",
	Default: Config{
		Address:        "127.0.0.1:9000",
		MaxConnections: 5,
		KeepAlive:      true,
		IdleTimeout:    30 * time.Second,
		QueueTimeout:   10 * time.Second,
		ConnectTimeout: 5 * time.Second,
		Timeout:        time.Minute,
		MaxSpool:       64 << 20,
		MaxHeader:      64 << 10,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says where the application is, and how it is asked.
type Config struct {
	// Address is where the application listens.
	Address registry.Address `yaml:"address" validate:"required"`
	// Root is the folder that the application has the finder's root at, when that isn't the path which it
	// has here. A script in another folder, as of the hook alias, is looked for in it, too.
	Root string `yaml:"root"`
	// Env are further variables that the scripts are given, such as PHP_VALUE.
	Env map[string]string `yaml:"env"`
	// Secrets are variables as in env whose values are never shown.
	Secrets map[string]registry.Secret `yaml:"secrets"`
	// Authorization passes on the visitor's credentials as HTTP_AUTHORIZATION, for scripts that check
	// passwords or tokens by themselves. Every script then sees them.
	Authorization bool `yaml:"authorization"`
	// MaxConnections is how many requests the application is asked at a time.
	MaxConnections int `yaml:"max_connections" validate:"min=1"`
	// KeepAlive says whether connections are used for more than one request.
	KeepAlive bool `yaml:"keep_alive"`
	// IdleTimeout is how long a connection without a request is kept.
	IdleTimeout time.Duration `yaml:"idle_timeout" validate:"min=1ms"`
	// QueueTimeout is how long a request waits for one of the connections.
	QueueTimeout time.Duration `yaml:"queue_timeout" validate:"min=0s"`
	// ConnectTimeout is how long the application may take to accept a connection.
	ConnectTimeout time.Duration `yaml:"connect_timeout" validate:"min=1ms"`
	// Timeout is the longest time in which a script may neither take from the request's body nor
	// write. While it is the visitor who is slow, the time doesn't count.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms"`
	// MaxSpool is the longest body of unknown length that is kept in a temporary file.
	MaxSpool registry.Size `yaml:"max_spool" validate:"min=0"`
	// MaxHeader is the longest header that a script may answer with.
	MaxHeader registry.Size `yaml:"max_header" validate:"min=1"`
}

// Validate says which names stand in both env and secrets, and which are empty.
func (c Config) Validate() error {
	var errs []error
	empty := func(setting, name string) {
		if name == "" {
			errs = append(errs, &registry.SettingError{Setting: setting, Problem: "has an empty name; it must be the name of a variable"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		empty("env", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		empty("secrets", name)
		if _, twice := c.Env[name]; twice {
			errs = append(errs, &registry.SettingError{
				Setting: "secrets",
				Problem: fmt.Sprintf("has the name %q, as env has; it must be in one of them", name),
			})
		}
	}
	if c.Root != "" && !path.IsAbs(c.Root) {
		errs = append(errs, &registry.SettingError{Setting: "root", Problem: fmt.Sprintf("is %q; it must be an absolute path", c.Root)})
	}
	return errors.Join(errs...)
}

// Expects says that the application must answer.
func (c Config) Expects() []expect.Expectation {
	network, address := c.Address.Network()
	return []expect.Expectation{expect.Answers("address", network, address)}
}

func build(env *registry.Env, cfg Config) (resource.Factory, error) {
	f := &factory{cfg: cfg, log: env.Logger(), pool: newPool(cfg)}
	for _, name := range slices.Sorted(maps.Keys(cfg.Env)) {
		f.env = append(f.env, variable{name, cfg.Env[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Secrets)) {
		f.env = append(f.env, variable{name, cfg.Secrets[name].Reveal()})
	}
	env.OnClose(f.pool.close)
	return f, nil
}

func (f *factory) Make(file *resource.File) (resource.App, error) {
	if file.Root == "" {
		return resource.App{}, fmt.Errorf("%s isn't a file on disk, so no application can read it", file.Name)
	}
	info, err := fs.Stat(file.FS, file.Name)
	if err != nil {
		return resource.App{}, err
	}
	if !info.Mode().IsRegular() {
		return resource.App{}, fmt.Errorf("%s is no regular file; a script must be", file.Name)
	}
	s := &script{factory: f, name: file.Name, root: f.cfg.Root}
	filename := path.Join(s.root, file.Name)
	if s.root == "" {
		s.root, filename = file.Root, filepath.Join(file.Root, filepath.FromSlash(file.Name))
	}
	s.env = append(slices.Clip(f.env),
		variable{"GATEWAY_INTERFACE", "CGI/1.1"},
		variable{"SERVER_SOFTWARE", "stackd"},
		variable{"SCRIPT_FILENAME", filename},
		variable{"DOCUMENT_ROOT", s.root},
		variable{"REDIRECT_STATUS", "200"}, // PHP may be set to run only when a server has set it
	)
	return resource.App{Handler: s, PathInfo: true}, nil
}
