package fastcgi

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// conn is a connection of the front server. Its goroutine reads; a request's handler runs on another.
type conn struct {
	*server
	net     *gateway.Conn
	handler http.Handler
	in      *bufio.Reader

	writing sync.Mutex // a handler and the answers to management records share it
}

func newConn(s *server, c *gateway.Conn, h http.Handler) *conn {
	return &conn{server: s, net: c, handler: h, in: bufio.NewReaderSize(c, 8<<10)}
}

// run serves one request after the other.
func (c *conn) run(ctx context.Context) {
	for wait := c.cfg.ReadHeaderTimeout; ; wait = c.cfg.IdleTimeout {
		if !c.net.Patience(wait) {
			return
		}
		first, err := c.in.Peek(1)
		if err != nil || !c.net.Begin() {
			return
		}
		if first[0] != 1 {
			c.refuse()
			return
		}
		again := c.request(ctx)
		if !c.net.End() || !again {
			return
		}
	}
}

// write writes whole records.
func (c *conn) write(records []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.net.Write(records)
	return err
}

// refuse answers what isn't FastCGI.
func (c *conn) refuse() {
	came, _ := c.in.Peek(min(8, c.in.Buffered()))                                                   // they are there
	_ = c.write(gateway.Refusal("FastCGI", "a web server that does, as nginx' fastcgi_pass", came)) // it is closed in any case
	c.net.Linger(c.in)
}

// preamble is a request up to the end of its variables.
type preamble struct {
	id   uint16
	keep bool // the connection is to stay open
	vars []gateway.Variable
}

// errOver says that a request ended before it could be answered.
var errOver = errors.New("the request is over")

// request reads and answers a request, and reports whether another may come.
func (c *conn) request(ctx context.Context) bool {
	if !c.net.Patience(c.cfg.ReadHeaderTimeout) {
		return false
	}
	p, err := c.preamble()
	switch {
	case errors.Is(err, errOver):
		return p.keep
	case err != nil && failure.Status(err) >= http.StatusInternalServerError: // it isn't FastCGI, or has ended
		return false
	}
	var r *http.Request
	if err == nil {
		r, err = gateway.NewRequest(ctx, p.vars, int64(c.cfg.MaxBody))
	}
	if err != nil {
		records := fcgi.AppendStream(nil, fcgi.Stdout, p.id, gateway.Decline(err))
		_ = c.write(fcgi.AppendEnd(records, p.id, 0, fcgi.RequestComplete)) // it is closed in any case
		c.net.Linger(c.in)
		return false
	}
	x := &exchange{conn: c, preamble: p}
	return x.run(r)
}

// preamble reads records up to the end of a request's variables.
func (c *conn) preamble() (p preamble, err error) {
	var params []byte
	begun := false
	for {
		h, err := fcgi.ReadHeader(c.in)
		if err != nil {
			return p, err
		}
		switch {
		case h.ID == 0:
			if err := c.manage(h); err != nil {
				return p, err
			}
			if !begun {
				return preamble{keep: true}, errOver
			}
			continue
		case h.Type == fcgi.BeginRequest && !begun:
			role, keep, err := c.begin(h)
			if err != nil {
				return p, err
			}
			begun, p.id, p.keep = true, h.ID, keep
			if role != fcgi.Responder {
				return p, c.over(p.id, fcgi.UnknownRole)
			}
			continue
		case !begun: // what is left of a request that ended
			if err := c.skip(h); err != nil {
				return p, err
			}
			return preamble{keep: true}, errOver
		case h.ID != p.id:
			if err := c.decline(h); err != nil {
				return p, err
			}
			continue
		case h.Type == fcgi.AbortRequest:
			if err := c.skip(h); err != nil {
				return p, err
			}
			return p, c.over(p.id, fcgi.RequestComplete)
		case h.Type != fcgi.Params:
			if err := c.skip(h); err != nil {
				return p, err
			}
			continue
		case h.Length == 0:
			if err := c.skip(h); err != nil {
				return p, err
			}
			p.vars, err = variables(params)
			return p, err
		case len(params)+h.Length > int(c.cfg.MaxHeader):
			err := fmt.Errorf("the variables of the request are longer than max_header, %d bytes", c.cfg.MaxHeader)
			return p, failure.WithStatus(err, http.StatusRequestHeaderFieldsTooLarge)
		}
		end := len(params)
		params = append(params, make([]byte, h.Length)...)
		if _, err := io.ReadFull(c.in, params[end:]); err != nil {
			return p, err
		}
		if _, err := c.in.Discard(h.Padding); err != nil {
			return p, err
		}
	}
}

func variables(params []byte) ([]gateway.Variable, error) {
	vars := make([]gateway.Variable, 0, 32)
	for len(params) > 0 {
		name, value, rest, err := fcgi.CutPair(params)
		if err != nil {
			return nil, failure.WithStatus(fmt.Errorf("the variables of the request: %w", err), http.StatusBadRequest)
		}
		vars, params = append(vars, gateway.Variable{Name: name, Value: value}), rest
	}
	return vars, nil
}

// skip passes over the content of a record.
func (c *conn) skip(h fcgi.Header) error {
	_, err := c.in.Discard(h.Length + h.Padding)
	return err
}

// begin reads the content of BEGIN_REQUEST.
func (c *conn) begin(h fcgi.Header) (role int, keep bool, err error) {
	var b [8]byte
	if h.Length != len(b) {
		return 0, false, fmt.Errorf("its BEGIN_REQUEST has %d bytes; it must have %d", h.Length, len(b))
	}
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return 0, false, err
	}
	_, err = c.in.Discard(h.Padding)
	return int(binary.BigEndian.Uint16(b[:])), b[2]&fcgi.KeepConn != 0, err
}

// over ends a request that isn't answered.
func (c *conn) over(id uint16, status byte) error {
	if err := c.write(fcgi.AppendEnd(nil, id, 0, status)); err != nil {
		return err
	}
	return errOver
}

// decline passes over a record of another request than the one under way; one that begins is ended at once.
func (c *conn) decline(h fcgi.Header) error {
	if err := c.skip(h); err != nil || h.Type != fcgi.BeginRequest {
		return err
	}
	return c.write(fcgi.AppendEnd(nil, h.ID, 0, fcgi.CantMultiplex))
}

// manage answers a management record (4).
func (c *conn) manage(h fcgi.Header) error {
	if h.Type != fcgi.GetValues {
		if err := c.skip(h); err != nil {
			return err
		}
		return c.write(fcgi.AppendRecord(nil, fcgi.UnknownType, 0, byte(h.Type), 0, 0, 0, 0, 0, 0, 0))
	}
	content := make([]byte, h.Length)
	if _, err := io.ReadFull(c.in, content); err != nil {
		return err
	}
	if _, err := c.in.Discard(h.Padding); err != nil {
		return err
	}
	var values []byte
	for len(content) > 0 {
		name, _, rest, err := fcgi.CutPair(content)
		if err != nil {
			return err
		}
		switch content = rest; name {
		case "FCGI_MAX_CONNS", "FCGI_MAX_REQS":
			values = fcgi.AppendPair(values, name, strconv.Itoa(c.cfg.MaxConnections))
		case "FCGI_MPXS_CONNS":
			values = fcgi.AppendPair(values, name, "0")
		}
		if len(values) > 1<<10 { // asked for the same again and again
			break
		}
	}
	return c.write(fcgi.AppendRecord(nil, fcgi.GetValuesResult, 0, values...))
}
