package accesslog

import (
	"context"
	"log/slog"
	"net"
	"strconv"

	"github.com/stackd/stackd/registry/environ"
)

// jsonLine appends a JSON object.
func jsonLine(line []byte, e *exchange) []byte {
	b := &appender{line}
	record := slog.NewRecord(e.start, slog.LevelInfo, "", 0)
	record.AddAttrs(e.attrs()...)
	h := slog.NewJSONHandler(b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	_ = h.Handle(context.Background(), record) // an appender takes everything
	return b.line
}

// appender is an io.Writer to memory.
type appender struct{ line []byte }

func (b *appender) Write(p []byte) (int, error) {
	b.line = append(b.line, p...)
	return len(p), nil
}

// combinedLine appends a line as Apache's LogFormat "combined" makes it.
func combinedLine(line []byte, e *exchange) []byte {
	host, _, err := net.SplitHostPort(e.r.RemoteAddr)
	if err != nil {
		host = e.r.RemoteAddr // as of a unix socket
	}
	line = field(line, host)
	line = append(line, " - "...)
	line = field(line, environ.User.Get(e.r))
	line = append(line, e.start.Format(" [02/Jan/2006:15:04:05 -0700] \"")...)
	line = escape(line, e.r.Method+" "+e.target()+" "+e.r.Proto, false)
	line = append(line, '"', ' ')
	if status := e.status(); status == 0 {
		line = append(line, "000"...)
	} else {
		line = strconv.AppendInt(line, int64(status), 10)
	}
	line = append(line, ' ')
	line = strconv.AppendInt(line, e.sent(), 10)
	for _, text := range []string{e.referer(), e.r.UserAgent()} {
		line = append(line, ' ', '"')
		if text == "" {
			text = "-"
		}
		line = escape(line, text, false)
		line = append(line, '"')
	}
	return append(line, '\n')
}

// field appends a word that stands without quotes.
func field(line []byte, word string) []byte {
	if word == "" {
		return append(line, '-')
	}
	return escape(line, word, true)
}

// escape appends text so that it can neither end a line nor what it stands in.
func escape(line []byte, text string, spaces bool) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~' || c == '"' || c == '\\' || spaces && c == ' ':
			line = append(line, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			line = append(line, c)
		}
	}
	return line
}
