// Package expect says what settings rely on outside of the stack file: a folder that must be
// there, an upstream that must answer.
//
// A plain check of a stack file looks at nothing of it, so that it can be done anywhere: where the
// file is written, in a pull request. A check of the environment, on the machine where the file is to be
// run, looks. Settings name what they rely on by a method:
//
//	func (c Config) Expects() []expect.Expectation {
//		return []expect.Expectation{expect.Folder("root", string(c.Root))}
//	}
//
// The method must be pure; its functions look later. These change nothing but for the moment: they open
// for reading, connect, or listen, and close at once.
package expect

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Expectation is one thing that settings rely on.
type Expectation struct {
	// Setting is the path to the setting that relies on it, such as "store.path".
	Setting string
	// Private says that what is found fault with is who may read a file, and not whether it can be used.
	Private bool
	// Look returns what is wrong, as what is and what must be: "/srv/site is not there; it must be
	// a folder". It ends when the context does.
	Look func(ctx context.Context) error
}

// Folder expects a folder that can be read. An empty path is none.
func Folder(setting, path string) Expectation {
	return Expectation{Setting: setting, Look: func(context.Context) error {
		return look(path, "a folder", func(f *os.File, info fs.FileInfo) error {
			if !info.IsDir() {
				return fmt.Errorf("%s is a file; it must be a folder", path)
			}
			if _, err := f.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s can't be listed: %w", path, bare(err))
			}
			return nil
		})
	}}
}

// File expects a file that can be read. An empty path is none.
func File(setting, path string) Expectation {
	return Expectation{Setting: setting, Look: func(context.Context) error {
		return look(path, "a file", func(_ *os.File, info fs.FileInfo) error {
			if info.IsDir() {
				return fmt.Errorf("%s is a folder; it must be a file", path)
			}
			return nil
		})
	}}
}

// soon is how long before its end a certificate is found fault with: ACME clients renew theirs long before.
const soon = 7 * 24 * time.Hour

// Certificate expects a file with a certificate, in PEM, that is valid now and for a week to come.
func Certificate(setting, path string) Expectation {
	return Expectation{Setting: setting, Look: func(context.Context) error {
		return look(path, "a file with a certificate", func(f *os.File, _ fs.FileInfo) error {
			data, err := io.ReadAll(io.LimitReader(f, 1<<20))
			if err != nil {
				return fmt.Errorf("%s can't be read: %w", path, bare(err))
			}
			block, _ := pem.Decode(data)
			if block == nil || block.Type != "CERTIFICATE" {
				return fmt.Errorf("%s does not begin with a certificate; it must, in PEM", path)
			}
			c, err := x509.ParseCertificate(block.Bytes)
			switch now := time.Now(); {
			case err != nil:
				return fmt.Errorf("the certificate in %s can't be understood: %w", path, err)
			case now.Before(c.NotBefore):
				return fmt.Errorf("the certificate in %s is valid from %s on; it must be now", path, c.NotBefore.Format(time.DateTime))
			case now.After(c.NotAfter):
				return fmt.Errorf("the certificate in %s was valid until %s; it must be renewed", path, c.NotAfter.Format(time.DateTime))
			case now.Add(soon).After(c.NotAfter):
				return fmt.Errorf("the certificate in %s is valid until %s only; it should be renewed", path, c.NotAfter.Format(time.DateTime))
			}
			return nil
		})
	}}
}

// Private expects of a file with secrets, if it is there, that only its owner and group may read it.
func Private(setting, path string) Expectation {
	return Expectation{Setting: setting, Private: true, Look: func(context.Context) error {
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			return nil // that is for File to say
		}
		if mode := info.Mode().Perm(); mode&0o007 != 0 {
			return fmt.Errorf("%s has the mode %04o, so that every user of this machine may %s it; it should be %04o", path, mode,
				map[bool]string{true: "change", false: "read"}[mode&0o002 != 0], mode&0o770)
		}
		return nil
	}}
}

// look opens a path for reading, and calls check with what is there.
func look(path, must string, check func(*os.File, fs.FileInfo) error) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there; it must be %s", path, must)
	case err != nil:
		return fmt.Errorf("%s can't be looked at: %w", path, bare(err))
	case !info.IsDir() && !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a folder; it must be %s", path, must) // opening a pipe would wait
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s can't be read by the user who runs this check: %w", path, bare(err))
	}
	return errors.Join(check(f, info), f.Close())
}

// Answers expects somebody who accepts connections at an address, a network and address as [net.Dial]
// takes them.
func Answers(setting, network, address string) Expectation {
	return Expectation{Setting: setting, Look: func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return fmt.Errorf("%s does not answer: %w", address, bare(err))
		}
		return c.Close()
	}}
}

// Origin expects that somebody accepts connections where a URL of http or https leads to.
func Origin(setting, origin string) Expectation {
	return Expectation{Setting: setting, Look: func(ctx context.Context) error {
		u, err := url.Parse(origin)
		if err != nil || u.Hostname() == "" {
			return nil // it was found fault with by those who know what it must be
		}
		port := u.Port()
		if port == "" {
			port = u.Scheme // the name of a service, too
		}
		return Answers(setting, "tcp", net.JoinHostPort(u.Hostname(), port)).Look(ctx)
	}}
}

// Program expects a program: an absolute path, or a name that is found on the PATH. An empty name is none.
func Program(setting, name string) Expectation {
	return Expectation{Setting: setting, Look: func(context.Context) error {
		if name == "" {
			return nil
		}
		if _, err := exec.LookPath(name); err != nil {
			if known, ok := errors.AsType[*exec.Error](err); ok {
				err = known.Err // which doesn't say the name again
			}
			return fmt.Errorf("%s can't be run: %w; it must be a program", name, bare(err))
		}
		return nil
	}}
}

// Writable expects a file that can be written, or a folder where it can be made, with the folders on the way.
func Writable(setting, path string) Expectation {
	return Expectation{Setting: setting, Look: func(context.Context) error {
		for at := path; ; at = filepath.Dir(at) {
			info, err := os.Stat(at)
			switch {
			case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && at != filepath.Dir(at):
				continue
			case err != nil:
				return fmt.Errorf("%s can't be looked at: %w", at, bare(err))
			case at == path && info.IsDir():
				return fmt.Errorf("%s is a folder; it must be a file", at)
			case at != path && !info.IsDir():
				return fmt.Errorf("%s is a file, so that %s can't be made; it must be a folder", at, path)
			}
			const write = 2 // W_OK of access(2)
			if err := syscall.Access(at, write); err != nil {
				return fmt.Errorf("%s can't be written: %w", at, err)
			}
			return nil
		}
	}}
}

// Listens expects that an address is one of this machine, and that nobody listens there.
func Listens(setting, network, address string) Expectation {
	return Expectation{Setting: setting, Look: func(ctx context.Context) error {
		if network == "unix" {
			return unixFree(ctx, address)
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return taken(address)
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("the user who runs this check may not listen on %s; a port below 1024 needs the capability CAP_NET_BIND_SERVICE", address)
		case err != nil:
			return fmt.Errorf("this machine can't listen on %s: %w", address, bare(err))
		}
		return l.Close()
	}}
}

func taken(address string) error {
	return fmt.Errorf("another process listens on %s; that is right only for the server that this stack file is to take the place of", address)
}

// unixFree looks who is at a socket, without making one.
func unixFree(ctx context.Context, path string) error {
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(taken(path), c.Close())
	}
	return nil
}

// bare leaves out of an error what the message says already.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}
