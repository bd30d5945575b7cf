package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/handover"
	"github.com/stackd/stackd/cmd/serve"
)

func (p *program) upgrade() *cobra.Command {
	return p.controlling(&cobra.Command{
		Use:   "upgrade [FILE]",
		Short: "Have the program that is installed now take over",
		Long: `upgrade has a running stackd start its program anew, with the same arguments:
that of the path by which it was started, whatever is there now. The new
process takes over all addresses and serves; then the old one accepts nothing
more, and ends when the requests that were under way have ended, or were cut at
the deadline. No connection is refused meanwhile.

When the new process crashes, finds problems in the stack file or isn't ready
within the deadlines for a reload, it is ended, what it wrote is printed, the
exit status is 1, and the old process serves on. SIGUSR2 does the same.

Nothing in memory is carried over: sessions of the store memory, caches, rate
limits, and the stack files that rollback could go back to.`,
	}, func(ctx context.Context, c *control.Client) error {
		u, err := c.Upgrade(ctx)
		if err != nil {
			return err
		}
		p.out.printf("process %d serves; process %d ends when its requests have\n", u.PID, u.Replaced)
		return nil
	})
}

// startTime is how long a program may take to begin.
const startTime = 5 * time.Second

// programPath returns the file by which this process was started. Another one may be there later: that is what an upgrade
// starts. (The system's own idea is the file as it was, which may be deleted by then.)
func programPath() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil { // such as a name that says something else
		return os.Executable()
	}
	return path, nil
}

// upgrade has a new process take the place of this one.
func (l *loader) upgrade(ctx context.Context, trigger string) (control.Upgraded, error) {
	done := control.Upgraded{Replaced: os.Getpid()}
	if os.Getpid() == 1 {
		return done, errors.New("this is process 1 of a container, which would end with it; start a new container instead")
	}
	limit := l.service.limit()
	if limit == 0 {
		return done, errNotBegun
	}
	path, err := l.service.path, l.service.noPath
	if err != nil {
		return done, fmt.Errorf("the program can't be started again: %w", err)
	}
	err = l.runtime.Upgrade(ctx, func(ctx context.Context, sockets []serve.Handed) error {
		ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
		defer cancel()
		l.log.Info("upgrade begins", slog.String("trigger", trigger), slog.String("program", path))
		next, err := handover.Start(ctx, handover.Program{
			Path: path, Args: os.Args, Env: l.service.notifier.Environ(), Stderr: os.Stderr,
		}, sockets, &l.service.sockets)
		if err != nil {
			return err
		}
		done.PID = next.PID()
		if err := errors.Join(l.service.notifier.HandOver(next.PID()), next.Release()); err != nil {
			l.log.Warn("upgrade: leaving the service to the new process", slog.Any("err", err))
		}
		return nil
	})
	if err != nil {
		l.log.Error("upgrade refused, this process serves on", slog.String("trigger", trigger), slog.Any("err", err))
		return done, err
	}
	l.log.Info("upgraded: another process serves, and this one ends when its requests have", slog.Int("pid", done.PID))
	return done, nil
}

// upgradeOver answers a request for it.
func (l *loader) upgradeOver(w http.ResponseWriter, r *http.Request) {
	done, err := l.upgrade(r.Context(), "stackd upgrade")
	if err != nil {
		l.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, done)
}

// outputOf returns what a new process wrote that did not take over.
func outputOf(err error) string {
	if f, ok := errors.AsType[*handover.Failure](err); ok {
		return strings.ToValidUTF8(f.Output, "�")
	}
	return ""
}
