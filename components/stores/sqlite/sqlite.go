// Package sqlite keeps session data in a SQLite file.
//
// The sessions survive a restart, and several processes on one machine may share the
// file. SQLite is compiled in; nothing needs to be installed.
//
//	stack:
//	  - use: session
//	    store: {use: sqlite, path: var/sessions.db}
//
// # The file
//
// It is created with mode 0600, its folder with 0700, when they aren't there. Beside it
// SQLite keeps two more while it is open, with -wal and -shm behind the name; they belong to
// it, and a copy of a file in use must include them. The folder must be on a local disk: the
// locks of network file systems can't be relied on. A file that can't be written, or isn't a
// SQLite database, is an error when the stack is built.
//
// To log everybody out, stop the server and delete the three files.
//
// # Safety of the data
//
// A commit is visible to all processes when it returns. It survives the end of the process
// at any moment; after a loss of power the last few may be missing, but the file is sound.
// Tokens are hashed before they get here, the data itself isn't encrypted.
//
// When another process holds the file for longer than five seconds, a request that
// must write fails; one that has ended doesn't wait.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	driver "modernc.org/sqlite"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/session"
)

func init() { registry.Register(Component) }

// Component is the sqlite session store.
var Component = registry.Store[Config]{
	Name:    "sqlite",
	Default: Config{Path: "var/sessions.db", SweepInterval: 5 * time.Minute},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:   build,
}

// Config says where the sessions are kept.
type Config struct {
	// Path is the database file. It and its folder are created when they aren't there,
	// for the user that runs stackd alone.
	Path registry.Path `yaml:"path" validate:"required"`
	// SweepInterval is how often expired sessions are deleted from the file. They are not
	// found any more from the moment they expire.
	SweepInterval time.Duration `yaml:"sweep_interval" validate:"min=1s"`
}

// Validate refuses SQLite's name for a database without a file.
func (c Config) Validate() error {
	if filepath.Base(string(c.Path)) == ":memory:" {
		return &registry.SettingError{Setting: "path", Problem: `is ":memory:"; it must be a file (store: memory keeps sessions without one)`}
	}
	return nil
}

// Expects says that the file must be there to be written, or that it can be made.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Writable("path", string(c.Path))}
}

func build(env *registry.Env, cfg Config) (session.Store, error) {
	s := &store{path: string(cfg.Path)}
	env.OnClose(s.close)
	if err := s.open(env.Context()); err != nil {
		return nil, fmt.Errorf("session file %q: %w", s.path, err)
	}
	env.Go(func(ctx context.Context) { s.sweepEvery(ctx, cfg.SweepInterval, env.Logger()) })
	return s, nil
}

// store has one connection that writes, since SQLite has one writer at a time and
// database/sql's queue for it is fair and ends with the context, and a few that read.
type store struct {
	path        string
	write, read *sql.DB

	find, commit, remove, expire *sql.Stmt
}

// readers is how many requests can read at the same time.
const readers = 4

// layout is written into a new file. Expiry is in microseconds since 1970.
const layout = `
CREATE TABLE IF NOT EXISTS sessions (
	token  BLOB NOT NULL PRIMARY KEY,
	data   BLOB NOT NULL,
	expiry INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_expiry ON sessions (expiry);`

func (s *store) open(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	// SQLite would create it with the permissions that umask leaves. The other two files
	// take theirs from this one.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	busy := fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())
	if s.write, err = sql.Open("sqlite", s.dsn(busy, "synchronous(NORMAL)")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if s.read, err = sql.Open("sqlite", s.dsn(busy, "query_only(1)")); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)

	for _, p := range []struct {
		stmt *(*sql.Stmt)
		db   *sql.DB
		text string
	}{
		{&s.find, s.read, "SELECT data FROM sessions WHERE token = ? AND expiry > ?"},
		{&s.commit, s.write, `INSERT INTO sessions (token, data, expiry) VALUES (?, ?, ?)
			ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry`},
		{&s.remove, s.write, "DELETE FROM sessions WHERE token = ?"},
		{&s.expire, s.write, `DELETE FROM sessions WHERE rowid IN
			(SELECT rowid FROM sessions WHERE expiry <= ? ORDER BY expiry LIMIT ?)`},
	} {
		if *p.stmt, err = p.db.PrepareContext(ctx, p.text); err != nil {
			return foreign(err)
		}
	}
	return nil
}

// prepare has readers and the writer not wait for each other, and makes what isn't there. SQLite itself doesn't wait for
// another process that does the same at this moment, as when several begin together.
func (s *store) prepare(ctx context.Context) error {
	const busy = 5 // SQLITE_BUSY, in the lower byte of several codes
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		var mode string
		err := s.write.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
		if err == nil && mode != "wal" {
			return fmt.Errorf("its journal mode is %s; it must be on a file system on which SQLite can use WAL", mode)
		}
		if err == nil {
			_, err = s.write.ExecContext(ctx, layout)
			err = foreign(err)
		}
		if e, ok := errors.AsType[*driver.Error](err); !ok || e.Code()&0xff != busy {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// busyTimeout is how long one process waits for another.
const busyTimeout = 5 * time.Second

// dsn names the file to the driver, and what each of its connections begins with.
func (s *store) dsn(pragmas ...string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(s.path)}
	u.RawQuery = url.Values{"_pragma": pragmas}.Encode()
	return u.String()
}

// foreign explains the error of a statement that doesn't fit what is in the file.
func foreign(err error) error {
	const logic = 1 // SQLITE_ERROR: no such column, for example
	if e, ok := errors.AsType[*driver.Error](err); ok && e.Code() == logic {
		return fmt.Errorf("its table named sessions is somebody else's; it must be a new file or one of this store: %w", err)
	}
	return err
}

// close closes what is open. The writer is last, so that it can fold the -wal file into
// the database.
func (s *store) close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *store) Find(ctx context.Context, token string) ([]byte, bool, error) {
	var data []byte
	err := s.find.QueryRowContext(ctx, []byte(token), time.Now().UnixMicro()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.fault(ctx, "read", err)
	}
	return data, true, nil
}

func (s *store) Commit(ctx context.Context, token string, data []byte, expiry time.Time) error {
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	_, err := s.commit.ExecContext(ctx, []byte(token), data, expiry.UnixMicro())
	return s.fault(ctx, "write", err)
}

func (s *store) Delete(ctx context.Context, token string) error {
	_, err := s.remove.ExecContext(ctx, []byte(token))
	return s.fault(ctx, "write", err)
}

// fault says where err happened. The driver may call a context that ended an interrupted
// statement.
func (s *store) fault(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w (%w)", ended, err)
	}
	return fmt.Errorf("%s session file %q: %w", what, s.path, err)
}

func (s *store) sweepEvery(ctx context.Context, interval time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "expired sessions stay in the file", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// sweep deletes what has expired, a part at a time, so that no request waits long for
// its turn to write.
func (s *store) sweep(ctx context.Context) error {
	const batch = 500
	for {
		result, err := s.expire.ExecContext(ctx, time.Now().UnixMicro(), batch)
		if err != nil {
			return s.fault(ctx, "sweep", err)
		}
		if n, err := result.RowsAffected(); err != nil || n < batch {
			return err
		}
	}
}
