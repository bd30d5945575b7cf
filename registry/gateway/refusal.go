package gateway

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// Refusal returns what to answer a client that speaks another protocol than that port's, to be shown to whoever sits
// before it. Came is how what it sent begins, eight bytes if there are as many: where that tells the client's own
// protocol, the answer is in it, and otherwise in HTTP. Through is what the client should have been, such as
// "a web server's scgi_pass".
func Refusal(protocol, through string, came []byte) []byte {
	theirs := tongue(came)
	text := "This port speaks " + protocol + ", and not " + theirs + ". Connect through " + through + ".\n"
	fields := "Content-Type: text/plain; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\n"
	script := "Status: 502 Bad Gateway\r\n" + fields + "\r\n" + text
	switch theirs {
	case "FastCGI":
		id := binary.BigEndian.Uint16(came[2:])
		answer := fcgi.AppendRecord(fcgi.AppendStream(nil, fcgi.Stdout, id, []byte(script)), fcgi.Stdout, id)
		return fcgi.AppendEnd(answer, id, 0, fcgi.RequestComplete)
	case "SCGI", "WebKit's adapter protocol":
		return []byte(script)
	}
	return []byte("HTTP/1.1 400 Bad Request\r\n" + fields + "Connection: close\r\n\r\n" + text)
}

// tongue names the protocol in which something begins like that.
func tongue(came []byte) string {
	first := func(i int) byte {
		if i < len(came) {
			return came[i]
		}
		return 0
	}
	digits := len(came) - len(strings.TrimLeft(string(came), "0123456789"))
	switch {
	case len(came) >= 4 && came[0] == 1 && fcgi.Type(came[1]) == fcgi.BeginRequest:
		return "FastCGI"
	case digits > 0 && first(digits) == ':':
		return "SCGI"
	case first(0) == 'i' && first(5) == '{':
		return "WebKit's adapter protocol"
	case first(0) == 0x16 && first(1) == 3:
		return "TLS"
	case 'A' <= first(0) && first(0) <= 'Z':
		return "HTTP"
	}
	return "what you sent"
}
