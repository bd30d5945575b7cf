package direct_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stackd/stackd/registry/direct"
)

// pair returns both ends of a connection, closed when the test ends.
func pair(t testing.TB, network string) (here, there net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if there, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	if here, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	return here, there
}

// each runs a test for a connection of either kind, once as it is in package net and once wrapped: both must do the same.
func each(t *testing.T, f func(t *testing.T, here, there net.Conn)) {
	for _, network := range []string{"tcp", "unix"} {
		for name, wrap := range map[string]func(net.Conn) net.Conn{"net": func(c net.Conn) net.Conn { return c }, "direct": direct.Wrap} {
			t.Run(network+" "+name, func(t *testing.T) {
				here, there := pair(t, network)
				f(t, wrap(here), there)
			})
		}
	}
}

func TestWrap(t *testing.T) {
	tcp, _ := pair(t, "tcp")
	unix, _ := pair(t, "unix")
	pipe, _ := net.Pipe()
	if _, ok := direct.Wrap(tcp).(*direct.TCP); !ok {
		t.Error("a TCP connection isn't wrapped")
	}
	if _, ok := direct.Wrap(unix).(*direct.Unix); !ok {
		t.Error("a unix connection isn't wrapped")
	}
	if direct.Wrap(pipe) != pipe {
		t.Error("another connection isn't returned as it is")
	}
}

// TestQuiet asks of what can be read, also past a deadline, and whether it is left there.
func TestQuiet(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			here, there := pair(t, network)
			here = direct.Wrap(here)
			is := func(what string, want bool) {
				t.Helper()
				if got := here.(interface{ Quiet() bool }).Quiet(); got != want {
					t.Errorf("%s: quiet is %t", what, got)
				}
			}
			is("nothing came", true)
			if err := here.SetReadDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			is("nothing came, and there is no time to wait", true)
			if err := here.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 2)
			for _, end := range []bool{false, true} {
				if _, err := there.Write([]byte("abc")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(here, b[:1]); err != nil { // the others are here, too
					t.Fatal(err)
				}
				is("something came", false)
				if _, err := io.ReadFull(here, b); err != nil || string(b) != "bc" {
					t.Fatalf("%q, %v", b, err)
				}
				if end {
					there.Close()
					if _, err := here.Read(b); !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
				}
				is("all was read", !end)
			}
			here.Close()
			is("it is closed", false)
		})
	}
}

func TestReadWrite(t *testing.T) {
	each(t, func(t *testing.T, here, there net.Conn) {
		if n, err := here.Write([]byte("hello")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(there, got); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
		for _, p := range [][]byte{nil, {}} {
			if n, err := here.Read(p); n != 0 || err != nil {
				t.Errorf("reading nothing: %d, %v", n, err)
			}
			if n, err := here.Write(p); n != 0 || err != nil {
				t.Errorf("writing nothing: %d, %v", n, err)
			}
		}
		if _, err := there.Write([]byte("world, and more")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(here, got); err != nil || string(got) != "world" {
			t.Fatalf("%q, %v", got, err)
		}
		there.Close()
		if rest, err := io.ReadAll(here); err != nil || string(rest) != ", and more" {
			t.Fatalf("%q, %v", rest, err)
		}
		if n, err := here.Read(got); n != 0 || err != io.EOF { //nolint:errorlint // it must be that very one
			t.Fatalf("after the end: %d, %v; want io.EOF", n, err)
		}
	})
}

// What doesn't fit into the socket at once is written when there is room, both ways at a time.
func TestLong(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	each(t, func(t *testing.T, here, there net.Conn) {
		var wg sync.WaitGroup
		for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
			wg.Go(func() {
				if n, err := way[0].Write(long); n != len(long) || err != nil {
					t.Errorf("wrote %d of %d bytes, %v", n, len(long), err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(long))
				if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, long) {
					t.Errorf("what was read differs, or %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// Several goroutines may write at a time: what one writes stays together.
func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, here, there net.Conn) {
		var writing sync.WaitGroup
		const each = 64 << 10
		for c := byte('a'); c < 'i'; c++ {
			writing.Go(func() {
				if _, err := here.Write(bytes.Repeat([]byte{c}, each)); err != nil {
					t.Error(err)
				}
			})
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			piece := make([]byte, each)
			for range 8 {
				if _, err := io.ReadFull(there, piece); err != nil || len(bytes.Trim(piece, string(piece[:1]))) > 0 {
					t.Errorf("pieces are mixed, or %v", err)
				}
			}
		})
		writing.Wait()
		reading.Wait()
	})
}

// The errors are those of package net, to the letter.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(here, there net.Conn) error
		is   error
	}{
		{"read after the deadline", func(here, _ net.Conn) error {
			_ = here.SetReadDeadline(time.Unix(1, 0))
			_, err := here.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
		{"write after the deadline", func(here, _ net.Conn) error {
			_ = here.SetWriteDeadline(time.Unix(1, 0))
			_, err := here.Write([]byte("x"))
			return err
		}, os.ErrDeadlineExceeded},
		{"a read's deadline while it waits", func(here, _ net.Conn) error {
			_ = here.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := here.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
		{"a write's deadline while it waits", func(here, there net.Conn) error {
			_ = here.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := here.Write(make([]byte, 64<<20))
			_ = here.(interface{ CloseWrite() error }).CloseWrite()
			if took, _ := io.Copy(io.Discard, there); took != int64(n) {
				return fmt.Errorf("it says that %d bytes were written, and %d were: %w", n, took, err)
			}
			return err
		}, os.ErrDeadlineExceeded},
		{"read when closed", func(here, _ net.Conn) error {
			here.Close()
			_, err := here.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		{"write when closed", func(here, _ net.Conn) error {
			here.Close()
			_, err := here.Write([]byte("x"))
			return err
		}, net.ErrClosed},
		{"closed by another goroutine", func(here, _ net.Conn) error {
			time.AfterFunc(10*time.Millisecond, func() { here.Close() })
			_, err := here.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		{"write to a peer that has closed", func(here, there net.Conn) error {
			there.Close()
			for {
				if _, err := here.Write(make([]byte, 1<<10)); err != nil {
					if errors.Is(err, syscall.ECONNRESET) { // the first of the two, by chance
						continue
					}
					return err
				}
			}
		}, syscall.EPIPE},
		{"read from a peer that has reset", func(here, there net.Conn) error {
			tcp, ok := there.(*net.TCPConn)
			if !ok { // a unix socket is reset when it is closed with something unread
				_, _ = here.Write([]byte("x"))
			} else {
				_ = tcp.SetLinger(0)
			}
			there.Close()
			_, err := here.Read(make([]byte, 1))
			return err
		}, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var texts []string
			each(t, func(t *testing.T, here, there net.Conn) {
				err := tt.do(here, there)
				if !errors.Is(err, tt.is) {
					t.Fatalf("%v; want %v", err, tt.is)
				}
				op, ok := errors.AsType[*net.OpError](err)
				if !ok || op.Source == nil || op.Source.String() != here.LocalAddr().String() || op.Addr == nil || op.Addr.String() != here.RemoteAddr().String() {
					t.Fatalf("%#v is no net.OpError with both addresses", err)
				}
				texts = append(texts, op.Op+" "+op.Net+" "+op.Err.Error())
			})
			for i := 0; i+1 < len(texts); i += 2 { // of one kind of connection
				if texts[i] != texts[i+1] {
					t.Errorf("net says %q, direct %q, or the other way round", texts[i], texts[i+1])
				}
			}
		})
	}
}

// A deadline that is moved while a read waits counts.
func TestDeadlineMoved(t *testing.T) {
	each(t, func(t *testing.T, here, there net.Conn) {
		read := make(chan error, 1)
		go func() {
			_, err := here.Read(make([]byte, 1))
			read <- err
		}()
		_ = here.SetReadDeadline(time.Now().Add(time.Hour))
		_ = here.SetReadDeadline(time.Unix(1, 0))
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		_ = here.SetReadDeadline(time.Time{})
		_, _ = there.Write([]byte("x"))
		if n, err := here.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("afterwards: %d, %v", n, err)
		}
	})
}

// Who takes the descriptor of a duplicate puts both into blocking mode. A call waits nevertheless as package net does: its
// deadline counts, and no processor is taken from the goroutines.
func TestBlockingMode(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			here, there := pair(t, network)
			f, err := here.(interface{ File() (*os.File, error) }).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_ = f.Fd() // this does it
			c := direct.Wrap(here)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { // ends only if it gets to run
				_, _ = there.Write([]byte("x"))
				cancel()
			}()
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			<-ctx.Done()
			done := make(chan error, 1)
			go func() {
				_, err := c.Write(make([]byte, 64<<20))
				done <- err
			}()
			if _, err := io.CopyN(io.Discard, there, 64<<20); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	here, there := pair(t, "tcp")
	c, p := direct.Wrap(here), make([]byte, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(there, p); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPingPong(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{"net": func(c net.Conn) net.Conn { return c }, "direct": direct.Wrap} {
		b.Run(name, func(b *testing.B) {
			here, there := pair(b, "tcp")
			here, there = wrap(here), wrap(there)
			var echo sync.WaitGroup
			echo.Go(func() { _, _ = io.Copy(there, struct{ io.Reader }{there}) })
			p := make([]byte, 1<<10)
			for b.Loop() {
				if _, err := here.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(here, p); err != nil {
					b.Fatal(err)
				}
			}
			here.Close()
			echo.Wait()
		})
	}
}
