package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/stackd/stackd/cmd/control"
)

// What a terminal does when it is told so (ECMA-48, and DEC's private modes).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l" // the one before, as it was
	beginFrame  = "\x1b[?2026h\x1b[H"    // shows nothing until the end; from the upper left corner
	endLine     = "\x1b[K"               // clears the rest of the line
	endFrame    = "\x1b[J\x1b[?2026l"    // clears what is below
)

// watch tells the status anew every second, until somebody has seen enough. A terminal that is asked to shows one in the
// place of the other, and is given back as it was.
func (p *program) watch(ctx context.Context, c *control.Client, tell func(control.Status) error) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	screen := tell == nil
	if screen {
		p.out.printf(enterScreen)
		defer p.out.printf(leaveScreen)
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		s, err := c.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil && screen {
			columns, rows := p.size()
			p.out.printf("%s", frame(statusText(s, time.Now()), columns, rows))
		} else if err == nil {
			err = tell(s)
		}
		if err == nil {
			err = p.out.failed // such as a pipe that nobody reads any more
		}
		if err != nil {
			return err
		}
		select {
		case <-beat.C:
		case <-resized:
		case <-ctx.Done():
			return nil
		}
	}
}

// size returns the size of the terminal.
func (p *program) size() (columns, rows int) {
	if f, ok := p.out.Writer.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return wide, 24
}

// frame returns what shows a text in a terminal of that size, in the place of the text before. It is to be written at
// once. What there is no room for is counted in the last row.
func frame(text string, columns, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > rows {
		n := len(lines) - (rows - 1)
		lines = append(lines[:rows-1:rows-1], fmt.Sprintf("and %s for which there is no room", count(n, "other line")))
	}
	for i, line := range lines {
		if lines[i] = fit(line, columns); utf8.RuneCountInString(lines[i]) < columns { // else it would clear the last column
			lines[i] += endLine
		}
	}
	return beginFrame + strings.Join(lines, "\n") + endFrame
}
