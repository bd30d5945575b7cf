package cmd

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestLogForPeople holds that a terminal is spared what says nothing.
func TestLogForPeople(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var b bytes.Buffer
	newLogger(&b, true, slog.LevelInfo).Info("done", slog.Duration("took", 1234567*time.Nanosecond), slog.Int("moved", 0), slog.Int("kept", 2),
		slog.Any("built", []string{}), slog.Any("retired", []string{"session"}), slog.String("hash", strings.Repeat("0123456789abcdef", 4)))
	if got, want := strings.SplitN(b.String(), " ", 2)[1], "INF done took=1.23ms kept=2 retired=[session] hash=0123456789abcdef\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}

// TestLogDurations holds that a duration has its unit, whoever reads the log.
func TestLogDurations(t *testing.T) {
	for name, terminal := range map[string]bool{"JSON": false, "terminal": true} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", "1")
			var b bytes.Buffer
			newLogger(&b, terminal, slog.LevelInfo).Info("done", slog.Duration("took", 351*time.Microsecond), slog.Any("again", 2*time.Minute))
			if terminal {
				if got, want := strings.SplitN(b.String(), " ", 2)[1], "INF done took=351µs again=2m0s\n"; got != want {
					t.Errorf("logged %q, want %q", got, want)
				}
				return
			}
			var r struct{ Took, Again string }
			if err := json.Unmarshal(b.Bytes(), &r); err != nil || r.Took != "351µs" || r.Again != "2m0s" {
				t.Errorf("logged %s (%v)", &b, err)
			}
		})
	}
}
