// Package cgi runs scripts and programs by the Common Gateway Interface of RFC 3875.
//
// A script is an executable file that the finder maps to this factory, by its extension or
// since it begins with #!:
//
//	stack:
//	  - use: finder
//	    root: site
//	    factories:
//	      .cgi: {use: cgi, env: {LANG: C.UTF-8}}
//
// Such as this one:
//
//	#!/bin/sh
//	echo "Content-Type: text/plain"
//	echo
//	echo "Hello $REMOTE_ADDR, you asked for $PATH_INFO"
//
// One process is started for each request, in the folder of the script. With command another
// program is run in place of the file, and finds the file's path in SCRIPT_FILENAME:
//
//	.php: {use: cgi, command: [/usr/bin/php-cgi]}
//
// # What a script is given
//
// Its environment has the meta-variables of RFC 3875, 4.1: CONTENT_LENGTH, CONTENT_TYPE, GATEWAY_INTERFACE,
// PATH_INFO, PATH_TRANSLATED, QUERY_STRING, REMOTE_ADDR, REMOTE_HOST (the address again: no name is looked
// up), REMOTE_USER where a middleware such as auth_basic knows the user, REQUEST_METHOD, SCRIPT_NAME, SERVER_NAME,
// SERVER_PORT, SERVER_PROTOCOL and SERVER_SOFTWARE. AUTH_TYPE is not among them; env may set it, and REMOTE_USER too
// where only something in front of stackd knows the user. Then there are REMOTE_PORT, REQUEST_URI, SCRIPT_FILENAME,
// DOCUMENT_ROOT, REDIRECT_STATUS, HTTPS=on over TLS, and for each of the stack file's vars that is a text,
// a number, true or false, one like STACKD_VAR_THEME.
//
// The fields of the request's header are HTTP_ACCEPT and so on. Values of a field that was sent more than once are
// joined by a comma. These are left out: Proxy, which programs take for their own setting; names with
// anything but letters, digits and hyphens, as X_A would pass for X-A; Proxy-Authorization; and
// Authorization unless that setting is on.
//
// Of stackd's own environment a script sees only the variables in inherit. It gets no command-line arguments, not
// even from a query without "=" (RFC 3875, 4.4), since some interpreters take those for options.
//
// The body is its standard input. One of known length is passed on as it arrives, while the script answers already. One whose
// length is only known at its end (chunked) is first written to a temporary file, because CONTENT_LENGTH
// must tell it.
//
// # What it answers
//
// A header, an empty line and a body (RFC 3875, 6). The header has at least one of Content-Type, Location and
// Status; its lines end with LF or CRLF. Without a Status it is 200, and 302 with a Location. Fields that are about
// the connection and X-CGI- extensions are not passed on; a Content-Length must be true. The header goes out with the first
// byte of the body, and the body as it is written, without waiting for more.
//
// Where this differs from RFC 3875: a Location that is only a path sends the browser there with 302, and the answer doesn't come
// from the server at once (6.2.2). Scripts that write the whole response, status line and all, are not understood
// (section 5, nph-).
//
// # When it fails
//
// An answer that isn't one, an exit status other than 0 and a death by signal are reported as failures with 502; when a
// part of the body was on its way already the connection is cut. The report brings what the script wrote to its standard
// error. After a request that went well these lines are logged as warnings. Of both, the last 64 KiB are kept.
//
// A script that for as long as timeout neither takes from the body nor writes is ended, with 504. So is one whose
// visitor has gone away. It is asked to end by SIGTERM, and killed after kill_delay. Its process group ends with it: a
// job that is to run on must leave the group, as by setsid.
//
// When max_processes are running a request waits for queue_timeout, and is then refused with 503. A chunked body
// longer than max_spool is refused with 413.
package cgi

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the cgi factory.
var Component = registry.Factory[Config]{
	Name: "cgi",
	Default: Config{
		Inherit:      []string{"PATH"},
		Timeout:      time.Minute,
		KillDelay:    2 * time.Second,
		MaxProcesses: 64,
		QueueTimeout: 10 * time.Second,
		MaxSpool:     64 << 20,
		MaxHeader:    64 << 10,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says how scripts are run.
type Config struct {
	// Command is the program to run in place of the file, with its arguments: an absolute path, or a
	// name that is looked up in PATH. Empty runs the file itself, which must be executable.
	Command []string `yaml:"command"`
	// Env are further environment variables of the scripts.
	Env map[string]string `yaml:"env"`
	// Secrets are environment variables as in env whose values are never shown.
	Secrets map[string]registry.Secret `yaml:"secrets"`
	// Inherit are the names of the variables that scripts get from stackd's own environment.
	Inherit []string `yaml:"inherit" validate:"unique"`
	// Authorization passes on the visitor's credentials as HTTP_AUTHORIZATION, for scripts that check
	// passwords or tokens by themselves. Every script then sees them.
	Authorization bool `yaml:"authorization"`
	// Timeout is the longest time in which a script may neither take from the request's body nor
	// write. While it is the visitor who is slow, the time doesn't count.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms"`
	// KillDelay is how long a script has to end after SIGTERM before it is killed.
	KillDelay time.Duration `yaml:"kill_delay" validate:"min=0s"`
	// MaxProcesses is how many scripts run at a time.
	MaxProcesses int `yaml:"max_processes" validate:"min=1"`
	// QueueTimeout is how long a request waits for one of them to end.
	QueueTimeout time.Duration `yaml:"queue_timeout" validate:"min=0s"`
	// MaxSpool is the longest body of unknown length that is kept in a temporary file.
	MaxSpool registry.Size `yaml:"max_spool" validate:"min=0"`
	// MaxHeader is the longest header that a script may answer with.
	MaxHeader registry.Size `yaml:"max_header" validate:"min=1"`
}

// Expects says that the program must be there, if one is named.
func (c Config) Expects() []expect.Expectation {
	if len(c.Command) == 0 {
		return nil
	}
	return []expect.Expectation{expect.Program("command", c.Command[0])}
}

// Validate says which names can't be those of environment variables.
func (c Config) Validate() error {
	var errs []error
	check := func(setting, name string) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			errs = append(errs, &registry.SettingError{
				Setting: setting,
				Problem: fmt.Sprintf("has the name %q; it must be the name of an environment variable", name),
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		check("env", name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		check("secrets", name)
		if _, twice := c.Env[name]; twice {
			errs = append(errs, &registry.SettingError{
				Setting: "secrets",
				Problem: fmt.Sprintf("has the name %q, as env has; it must be in one of them", name),
			})
		}
	}
	for _, name := range c.Inherit {
		check("inherit", name)
	}
	if len(c.Command) > 0 && c.Command[0] == "" {
		errs = append(errs, &registry.SettingError{Setting: "command", Problem: "begins with an empty text; it must begin with a program"})
	}
	return errors.Join(errs...)
}

func build(env *registry.Env, cfg Config) (resource.Factory, error) {
	f := &factory{cfg: cfg, log: env.Logger(), slots: make(chan struct{}, cfg.MaxProcesses)}
	if len(cfg.Command) > 0 {
		program, err := exec.LookPath(cfg.Command[0])
		if err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		f.program = program
	}
	for _, name := range cfg.Inherit {
		if value, ok := os.LookupEnv(name); ok {
			f.env = append(f.env, name+"="+value)
		}
	}
	for name, value := range cfg.Env {
		f.env = append(f.env, name+"="+value)
	}
	for name, value := range cfg.Secrets {
		f.env = append(f.env, name+"="+value.Reveal())
	}
	return f, nil
}

func (f *factory) Make(file *resource.File) (resource.App, error) {
	if file.Root == "" {
		return resource.App{}, fmt.Errorf("%s isn't a file on disk, so it can't be run", file.Name)
	}
	info, err := fs.Stat(file.FS, file.Name)
	if err != nil {
		return resource.App{}, err
	}
	if !info.Mode().IsRegular() {
		return resource.App{}, fmt.Errorf("%s is no regular file; a script must be", file.Name)
	}
	if f.program == "" && info.Mode().Perm()&0o111 == 0 {
		return resource.App{}, fmt.Errorf("%s isn't executable; it must be (chmod +x), unless command is set", file.Name)
	}
	s := &script{factory: f, file: file, path: filepath.Join(file.Root, filepath.FromSlash(file.Name))}
	s.env = append(slices.Clip(f.env),
		"GATEWAY_INTERFACE=CGI/1.1",
		"SERVER_SOFTWARE=stackd",
		"SCRIPT_FILENAME="+s.path,
		"DOCUMENT_ROOT="+file.Root,
		"REDIRECT_STATUS=200", // php-cgi runs only when a server has set it
	)
	return resource.App{Handler: s, PathInfo: true}, nil
}
