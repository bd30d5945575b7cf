package serve

import (
	"net"
	"sync"
	"testing"
)

// TestDuplicatesDontDisturb makes duplicates of a socket while another one accepts. Were the socket put into blocking mode
// for a moment, an accept in that moment would hold a thread, and closing its listener wait for the next connection.
func TestDuplicatesDontDisturb(t *testing.T) {
	s, err := openSocket(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	for range 100 {
		accepting, err := s.duplicate()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := accepting.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		})
		wg.Go(func() {
			for range 20 {
				c, err := net.Dial("tcp", s.ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.Close()
			}
		})
		for range 50 {
			other, err := s.duplicate()
			if err != nil {
				t.Error(err)
				break
			}
			_ = other.Close()
		}
		_ = accepting.Close() // hangs when an accept holds its thread
		wg.Wait()
	}
}
