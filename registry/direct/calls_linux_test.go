//go:build !race && !386

package direct_test

import (
	"net"
	"testing"

	"github.com/stackd/stackd/registry/direct"
)

// TestQuietAllocations is of what is asked before every use of a connection that was kept.
func TestQuietAllocations(t *testing.T) {
	here, _ := pair(t, "tcp")
	c := direct.NewTCP(here.(*net.TCPConn))
	if n := testing.AllocsPerRun(100, func() { c.Quiet() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkQuiet(b *testing.B) {
	here, _ := pair(b, "tcp")
	c := direct.NewTCP(here.(*net.TCPConn))
	for b.Loop() {
		if !c.Quiet() {
			b.Fatal("something came")
		}
	}
}
