package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/stackd/stackd/registry/failure"
)

// subject is the mail's, in one line.
func subject(groups []group) string {
	n := count(groups)
	if len(groups) > 1 {
		return fmt.Sprintf("[stackd] %d incidents of %d kinds", n, len(groups))
	}
	i := groups[0].latest
	times := ""
	if n > 1 {
		times = fmt.Sprintf("%d times ", n)
	}
	text := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, fmt.Sprintf("%s%s %s%s: %v", times, i.Method, i.Host, i.URL, i.Failure.Err))
	const longest = 150
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return "[stackd] " + text
}

// body tells about the latest incident of each group.
func body(groups []group) string {
	var b strings.Builder
	for n, g := range groups {
		if n > 0 {
			b.WriteString("\n" + strings.Repeat("-", 60) + "\n\n")
		}
		describe(&b, g)
	}
	return b.String()
}

const (
	// places is how much of a stack is told.
	places = 10
	// longest is how many bytes of a detail are told.
	longest = 4 << 10
)

func describe(b *strings.Builder, g group) {
	i := g.latest
	fmt.Fprintf(b, "%v\n\n", i.Failure.Err)
	if g.key == "" {
		b.WriteString("This stands for all that there was no room to keep apart.\n")
	}
	if g.total > 1 {
		fmt.Fprintf(b, "%d times since the last mail, %d since %s. The latest:\n", g.untold(), g.total, g.first.UTC().Format(time.RFC1123))
	}
	answer := fmt.Sprint(i.Status)
	if i.Status == 0 {
		answer = "the connection was cut"
	}
	if i.Failure.Panic {
		answer += ", a panic"
	}
	fmt.Fprintf(b, "Incident  %s\nTime      %s\nRequest   %s %s%s\nFrom      %s\nAnswer    %s\n",
		i.ID, i.Time.UTC().Format(time.RFC1123), i.Method, i.Host, i.URL, i.RemoteAddr, answer)
	if r := i.Route; r != nil && len(r.Patterns) > 0 {
		fmt.Fprintf(b, "Route     %s\n", r.Patterns[len(r.Patterns)-1])
	}
	if len(i.Failure.Stack) > 0 {
		b.WriteString("\nWhere it happened\n")
	}
	for _, f := range i.Failure.Stack[:min(places, len(i.Failure.Stack))] {
		fmt.Fprintf(b, "  %s\n    %s:%d\n", f.Function, f.File, f.Line)
	}
	for _, d := range details(i.Failure.Err) {
		if len(d.Text) > longest {
			d.Text = "… " + strings.ToValidUTF8(d.Text[len(d.Text)-longest:], "")
		}
		fmt.Fprintf(b, "\n%s\n%s\n", d.Title, d.Text)
	}
}

// details are what the error brought along. A panic of its method is told in their place.
func details(err error) (found []failure.Detail) {
	defer func() {
		if p := recover(); p != nil {
			found = []failure.Detail{{Title: "Details", Text: fmt.Sprintf("panic: %v", p)}}
		}
	}()
	if d, ok := errors.AsType[failure.Detailed](err); ok {
		return d.Details()
	}
	return nil
}
