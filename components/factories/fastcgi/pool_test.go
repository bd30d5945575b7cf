package fastcgi

import (
	"net"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
)

// TestReuse proves that a connection is used again however long ago the deadline of its last read was, unless something
// came on it.
func TestReuse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := Component.Default
	cfg.Address = registry.Address(l.Addr().String())
	p := newPool(cfg)
	c, err := p.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	application, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer application.Close()
	if err := c.net.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	p.put(c)
	if p.reuse() != c {
		t.Error("an open connection wasn't used again")
	}
	if _, err := application.Write([]byte("what nobody asked for")); err != nil {
		t.Fatal(err)
	}
	if err := c.net.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.net.Read(make([]byte, 1)); err != nil { // it has arrived
		t.Fatal(err)
	}
	p.put(c)
	if p.reuse() != nil {
		t.Error("a connection on which something came was used again")
	}
}
