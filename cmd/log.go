package cmd

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// isTerminal reports whether people read what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newLogger returns a logger that writes for people on a terminal, and JSON elsewhere. A duration is a text with its unit in both.
func newLogger(w io.Writer, terminal bool, level slog.Level) *slog.Logger {
	if terminal {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != "", ReplaceAttr: forPeople}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}))
}

// forPeople leaves out what says nothing to a reader, a count of none and an empty list, and the digits that nobody reads.
func forPeople(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value; v.Kind() {
	case slog.KindDuration:
		a.Value = slog.StringValue(short(v.Duration()).String())
	case slog.KindInt64, slog.KindUint64:
		if v.String() == "0" {
			return slog.Attr{}
		}
	case slog.KindString:
		if a.Key == "hash" {
			a.Value = slog.StringValue(fmt.Sprintf("%.16s", v))
		}
	case slog.KindAny:
		if list, ok := v.Any().([]string); ok && len(list) == 0 {
			return slog.Attr{}
		}
	}
	return a
}

// outliveReaders lets a process go on when nobody reads its log any more: to write to such a pipe ends a program otherwise.
func outliveReaders() (end func()) {
	gone := make(chan os.Signal, 1)
	signal.Notify(gone, syscall.SIGPIPE)
	return func() { signal.Stop(gone) }
}
