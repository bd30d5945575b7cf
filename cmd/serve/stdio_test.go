package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// once serves one connection of l, and gives the error of the next Accept to next, if that isn't nil.
func once(l net.Listener, next func(error) error) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if p, ok := c.(interface{ Environ() []string }); !ok || len(p.Environ()) == 0 {
		return errors.New("the connection brings no environment")
	}
	if err := c.Close(); err != nil {
		return err
	}
	_, err = l.Accept()
	return next(err)
}

func TestStdio(t *testing.T) {
	broken := errors.New("it broke")
	for name, tt := range map[string]struct {
		serve func(context.Context, net.Listener) error
		fails string
	}{
		"served": {func(_ context.Context, l net.Listener) error {
			return once(l, func(err error) error {
				if !errors.Is(err, io.EOF) {
					t.Errorf("the second Accept returns %v", err)
				}
				return nil
			})
		}, ""},
		"broken": {func(_ context.Context, l net.Listener) error {
			return once(l, func(error) error { return broken })
		}, `server "cgi" on "stdio:": it broke`},
		"leaves its connection open": {func(_ context.Context, l net.Listener) error {
			if _, err := l.Accept(); err != nil { // it stays open: the runtime closes it
				return err
			}
			if err := l.Close(); err != nil {
				return err
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept on a closed listener returns %v", err)
			}
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			closed := false
			err := Run(t.Context(), Options{
				Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
				Load: func(context.Context) (Generation, error) {
					return Generation{
						Handler: http.NotFoundHandler(),
						Servers: []Server{{Name: "cgi", Address: Stdio, ID: "1", Serve: func(ctx context.Context, l net.Listener, _ http.Handler) error {
							return tt.serve(ctx, l)
						}}},
						Close: func() error { closed = true; return nil },
					}, nil
				},
			})
			if !closed {
				t.Error("the generation isn't closed")
			}
			if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("Run returns %v; it must be %q", err, tt.fails)
			}
		})
	}
}
