package cmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/stackfile"
)

// socketsOf returns where the control socket of a stack file may be that names none, the best place first.
func socketsOf(file string) []string {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256([]byte(path))
	return []string{
		filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".sock"),
		filepath.Join(cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), "/run"), "stackd-"+hex.EncodeToString(sum[:8])+".sock"),
	}
}

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

// controlled returns what is to be the control of a generation, or nil for none. It is an error if another process
// has the socket that the stack file names.
func (l *loader) controlled(ctx context.Context, c stackfile.Control) (*serve.Server, error) {
	if c.Off {
		return nil, nil
	}
	_, path := c.Address.Network()
	if c.Address == "" {
		places := socketsOf(l.path())
		i := slices.IndexFunc(places, func(place string) bool {
			return len(place) <= maxSocket && unix.Access(filepath.Dir(place), unix.W_OK|unix.X_OK) == nil
		})
		if i < 0 {
			l.log.Warn("there is no control socket, since neither folder for it can be written; the stack file's control: may name another", slog.Any("places", places))
			return nil, nil
		}
		path = places[i]
	}
	if path != l.socket && !l.service.sockets.Has("unix:"+path) { // it isn't this process's
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if s, err := control.New(path).Status(ctx); err == nil {
			err := fmt.Errorf("control: process %d has the socket %q already", s.PID, path)
			if c.Address != "" {
				return nil, err
			}
			l.log.Warn("there is no control socket; stackd status and the like won't find this process", slog.Any("err", err))
			return nil, nil
		}
	}
	return &serve.Server{Name: "control", Slot: "control", Address: "unix:" + path, Mode: 0o600, ID: "control", Optional: c.Address == "", Serve: l.control}, nil
}

// control serves the commands. It has the time of a reload to end.
func (l *loader) control(ctx context.Context, ln net.Listener, _ http.Handler) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		s := l.runtime.Status()
		s.Kept = l.history.numbers()
		if workers := l.workers.Load(); workers != nil {
			workers.Sum(r.Context(), &s)
		}
		answer(w, http.StatusOK, s)
	})
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		l.reload(w, r, serve.Order{Trigger: "stackd reload"})
	})
	mux.HandleFunc("POST /v1/rollback", func(w http.ResponseWriter, r *http.Request) {
		to, err := strconv.ParseUint(cmp.Or(r.FormValue("to"), "0"), 10, 64)
		if err != nil {
			http.Error(w, fmt.Sprintf("to is %q; it must be the number of a generation", r.FormValue("to")), http.StatusBadRequest)
			return
		}
		kept, err := l.history.find(to)
		if err != nil {
			l.refuse(w, err)
			return
		}
		l.reload(w, r, serve.Order{Trigger: "stackd rollback", Load: func(ctx context.Context) (serve.Generation, error) {
			return l.make(ctx, kept)
		}})
	})
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, r *http.Request) {
		s, err := l.runtime.Stop(r.Context())
		if err != nil {
			l.refuse(w, err)
			return
		}
		l.service.untell() // whoever waits for this may start another one at once
		// The answer ends with the connection, and that with the process.
		w.Header().Set("Transfer-Encoding", "identity")
		answer(w, http.StatusOK, s)
		control := http.NewResponseController(w)
		_ = control.Flush() // a client that went away
		if conn, _, err := control.Hijack(); err == nil {
			l.stopMu.Lock()
			l.stoppers = append(l.stoppers, conn)
			l.stopMu.Unlock()
		}
	})
	mux.HandleFunc("POST /v1/upgrade", l.upgradeOver)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		if ctx.Err() == nil {
			return err
		}
		served <- err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err := srv.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) { // such as a client that doesn't read
		err = srv.Close()
	}
	// Who ends it closes the listener, too.
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) && !errors.Is(ended, net.ErrClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (l *loader) reload(w http.ResponseWriter, r *http.Request, o serve.Order) {
	report, err := l.runtime.Reload(r.Context(), o)
	if err != nil {
		l.refuse(w, err)
		return
	}
	answer(w, http.StatusOK, report)
}

// refuse answers that nothing was done, and why.
func (l *loader) refuse(w http.ResponseWriter, err error) {
	refusal := refusalOf(err)
	refusal.Output = outputOf(err)
	if s := l.runtime.Status(); len(s.Generations) > 0 && !s.Stopping {
		refusal.Generation = s.Generations[0].Number
	}
	answer(w, http.StatusConflict, refusal)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = indented(w, v) // a client that went away
}
