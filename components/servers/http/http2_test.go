package http

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// overBoth runs a test over HTTP/2 without TLS, and with it. begin opens a connection, and says how URLs of it begin.
func overBoth(t *testing.T, h http.HandlerFunc, test func(t *testing.T, s *running, scheme string, begin func() net.Conn)) {
	t.Run("without TLS", func(t *testing.T) {
		s := start(t, h, nil)
		test(t, s, "http", func() net.Conn { return s.dial(t) })
	})
	t.Run("TLS", func(t *testing.T) {
		c := certify(t, nil, "example.org")
		s := start(t, h, c.speaks)
		config := trust(c)
		config.NextProtos = []string{"h2"}
		test(t, s, "https", func() net.Conn { return encrypt(t, s.dial(t), config) })
	})
}

// peer is a client that writes frame by frame.
type peer struct {
	*http2.Framer
	t      *testing.T
	scheme string
	block  bytes.Buffer
	enc    *hpack.Encoder
	seen   map[uint32][]string // of each stream, what came
}

// meet begins HTTP/2.
func meet(t *testing.T, c net.Conn, scheme string, settings ...http2.Setting) *peer {
	t.Helper()
	send(t, c, preface)
	p := &peer{Framer: http2.NewFramer(c, c), t: t, scheme: scheme, seen: map[uint32][]string{}}
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.block)
	p.must(p.WriteSettings(settings...))
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// request returns the block of a header.
func (p *peer) request(method string, more ...string) []byte {
	return fields(p.enc, &p.block, append([]string{":method: " + method, ":scheme: " + p.scheme, ":path: /", ":authority: x"}, more...)...)
}

// await reads until something comes of that kind, which it returns.
func (p *peer) await(want string) {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatalf("the connection ended with %v before there was %s; there was %v", err, want, p.seen)
		}
		got := f.Header().Type.String()
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			got = f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			got = f.ErrCode.String()
		case *http2.GoAwayFrame:
			got += " " + f.ErrCode.String()
		case *http2.SettingsFrame:
			if f.IsAck() {
				got += " ACK"
			}
		case *http2.DataFrame:
			got = fmt.Sprintf("%d bytes", len(f.Data()))
		}
		got = fmt.Sprint(f.Header().StreamID, ": ", got)
		p.seen[f.Header().StreamID] = append(p.seen[f.Header().StreamID], got)
		if got == want {
			return
		}
	}
}

// TestConnectionFields proves that a request with a field that is about the connection has its own stream reset, and no other.
func TestConnectionFields(t *testing.T) {
	overBoth(t, echo, func(t *testing.T, _ *running, scheme string, begin func() net.Conn) {
		for _, field := range []string{"connection: close", "keep-alive: 1", "proxy-connection: close", "transfer-encoding: chunked", "upgrade: x", "te: gzip"} {
			t.Run(field, func(t *testing.T) {
				p := meet(t, begin(), scheme)
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("POST"), EndHeaders: true}))
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.request("GET", field), EndHeaders: true, EndStream: true}))
				p.await("3: PROTOCOL_ERROR")
				// One with a body, and its header in several frames, padded and with a priority.
				block := p.request("POST", "a: b", field)
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: block[:3], PadLength: 7, Priority: http2.PriorityParam{Weight: 9}}))
				p.must(p.WriteContinuation(5, true, block[3:]))
				p.must(p.WriteData(5, true, []byte("body")))
				p.await("5: PROTOCOL_ERROR")
				p.must(p.WriteData(1, true, []byte("body")))
				p.await("1: 200")
			})
		}
		t.Run("in trailers", func(t *testing.T) {
			p := meet(t, begin(), scheme)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("POST"), EndHeaders: true}))
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(p.enc, &p.block, "connection: close"), EndHeaders: true, EndStream: true}))
			p.await("1: PROTOCOL_ERROR")
		})
		t.Run("te: trailers is none", func(t *testing.T) {
			p := meet(t, begin(), scheme)
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("GET", "te: trailers"), EndHeaders: true, EndStream: true}))
			p.await("1: 200")
		})
	})
}

// TestSettingsTwice proves that of several values the last one counts, and that an error stays one.
func TestSettingsTwice(t *testing.T) {
	overBoth(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, func(t *testing.T, _ *running, scheme string, begin func() net.Conn) {
		window := func(v uint32) http2.Setting { return http2.Setting{ID: http2.SettingInitialWindowSize, Val: v} }
		p := meet(t, begin(), scheme, window(100), window(2), window(3))
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("GET"), EndHeaders: true, EndStream: true}))
		p.await("1: 3 bytes")
		p.must(p.WriteSettings(window(0), window(5)))
		p.await("1: 2 bytes")
		p.must(p.WriteSettings(window(1<<31), window(5)))
		p.await("0: GOAWAY FLOW_CONTROL_ERROR")
	})
}

// TestHeaderFlood proves that a header without end doesn't go on.
func TestHeaderFlood(t *testing.T) {
	overBoth(t, echo, func(t *testing.T, _ *running, scheme string, begin func() net.Conn) {
		p := meet(t, begin(), scheme)
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("GET")}))
		field := fields(p.enc, &p.block, "a: "+strings.Repeat("b", 1000))
		for range 200 {
			p.must(p.WriteContinuation(1, false, append(field, field...)))
		}
		p.await("0: GOAWAY PROTOCOL_ERROR")
	})
}

// TestSlowHeaderHTTP2 proves that a header that has begun has read_header_timeout to come, whatever else goes on.
func TestSlowHeaderHTTP2(t *testing.T) {
	cert := certify(t, nil, "example.org")
	for scheme, change := range map[string]func(*Config){"http": func(*Config) {}, "https": cert.speaks} {
		s := start(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(cfg *Config) {
			change(cfg)
			cfg.ReadHeaderTimeout = 300 * time.Millisecond // the handshake has as long
		})
		begin := func() net.Conn {
			if scheme == "http" {
				return s.dial(t)
			}
			config := trust(cert)
			config.NextProtos = []string{"h2"}
			return encrypt(t, s.dial(t), config)
		}
		for name, finish := range map[string]func(c net.Conn, p *peer){
			"without an end": func(_ net.Conn, p *peer) {
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.request("GET")}))
			},
			"within a frame": func(c net.Conn, _ *peer) {
				send(t, c, "\x00\x00\x20\x01\x05\x00\x00\x00\x03abc")
			},
			"within a continuation": func(c net.Conn, p *peer) {
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.request("GET")}))
				send(t, c, "\x00\x00\x20\x09\x04\x00\x00\x00\x03abc")
			},
		} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				c := begin()
				p := meet(t, c, scheme)
				p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.request("GET"), EndHeaders: true, EndStream: true}))
				finish(c, p)
				if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("reading until the server closes: %v", err)
				}
			})
		}
	}
}

// TestUploadHTTP2 proves that bodies arrive as they were sent, with their trailers.
func TestUploadHTTP2(t *testing.T) {
	const size = 8 << 20
	overBoth(t, func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		fmt.Fprintf(w, "%d %v %x %s %t", n, err, hash.Sum(nil), r.Trailer.Get("A"), r.TLS != nil)
	}, func(t *testing.T, s *running, scheme string, _ func() net.Conn) {
		var speaks http.Protocols
		speaks.SetHTTP2(true)
		speaks.SetUnencryptedHTTP2(true)
		tr := &http.Transport{Protocols: &speaks, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer tr.CloseIdleConnections()
		body := bytes.Repeat([]byte("0123456\n"), size/8)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, scheme+"://"+s.addr, io.MultiReader(bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"A": {"trailer"}}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d <nil> %x trailer %t", size, sha256.Sum256(body), scheme == "https"); err != nil || string(got) != want {
			t.Errorf("the app saw %s, %v; want %s", got, err, want)
		}
	})
}

func TestProtocols(t *testing.T) {
	c := certify(t, nil, "example.org")
	said := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }
	for _, protocols := range []string{"http/1.1", "h2", "http/1.1 h2", "h2 http/1.1"} {
		for scheme, change := range map[string]func(*Config){"http": func(*Config) {}, "https": c.speaks} {
			t.Run(protocols+" over "+scheme, func(t *testing.T) {
				s := start(t, said, func(cfg *Config) {
					cfg.Protocols = strings.Fields(protocols)
					change(cfg)
				})
				for _, asks := range []string{"http/1.1", "h2"} {
					var speaks http.Protocols
					speaks.SetHTTP1(asks == "http/1.1")
					speaks.SetHTTP2(asks == "h2")
					speaks.SetUnencryptedHTTP2(asks == "h2")
					tr := &http.Transport{Protocols: &speaks, TLSClientConfig: trust(c)}
					resp, err := (&http.Client{Transport: tr}).Get(scheme + "://" + s.addr)
					spoken := err == nil && resp.StatusCode == http.StatusOK
					if err == nil {
						if scheme == "http" && !spoken && resp.StatusCode != http.StatusHTTPVersionNotSupported {
							t.Errorf("a client that speaks %s got %s", asks, resp.Status)
						}
						resp.Body.Close()
					}
					tr.CloseIdleConnections()
					if want := strings.Contains(protocols, asks); spoken != want {
						t.Errorf("%s was spoken: %t, %v; want %t", asks, spoken, err, want)
					}
				}
			})
		}
	}
	t.Run("what is no HTTP/2 is closed, all that was sent taken", func(t *testing.T) {
		s := start(t, said, func(cfg *Config) { cfg.Protocols = []string{"h2"} })
		for _, text := range []string{"INVALID CONNECTION PREFACE\r\n\r\n", "PRI * HTTP/3.0\r\n\r\n", strings.Repeat("x", 10_000)} {
			conn := s.dial(t)
			send(t, conn, text)
			if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
				t.Errorf("%.20q was answered with %q, %v", text, got, err)
			}
			conn.Close()
		}
	})
	t.Run("the others learn why", func(t *testing.T) {
		s := start(t, said, func(cfg *Config) { cfg.Protocols = []string{"h2"} })
		conn := s.dial(t)
		send(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 505 ") || !strings.Contains(string(got), "only HTTP/2") {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestPreface proves that who chose HTTP/2 over TLS has read_header_timeout to begin with it, and must.
func TestPreface(t *testing.T) {
	c := certify(t, nil, "example.org")
	s := start(t, echo, func(cfg *Config) { c.speaks(cfg); cfg.ReadHeaderTimeout = 2 * time.Second }) // the handshake has as long
	config := trust(c)
	config.NextProtos = []string{"h2"}
	begun := map[string]net.Conn{"": nil, preface[:10]: nil, "GET / HTTP/1.1\r\nHost: x\r\n\r\n": nil}
	for text := range begun {
		begun[text] = encrypt(t, s.dial(t), config)
		send(t, begun[text], text)
	}
	for text, conn := range begun {
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %q the server sent %q, %v; want it to close", text, got, err)
		}
	}
}

// TestEndHTTP2UnderTLS proves that a connection which hasn't begun when the server is told to end doesn't keep it waiting, and one
// that has is told.
func TestEndHTTP2UnderTLS(t *testing.T) {
	c := certify(t, nil, "example.org")
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		fmt.Fprint(w, "whole")
	}, c.speaks)
	config := trust(c)
	config.NextProtos = []string{"h2"}
	busy := meet(t, encrypt(t, s.dial(t), config), "https")
	busy.must(busy.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: busy.request("GET"), EndHeaders: true, EndStream: true}))
	late := encrypt(t, s.dial(t), config)
	<-begun
	stopped(t, s)
	after := meet(t, late, "https") // which the server didn't know to be over HTTP/2
	after.await("0: GOAWAY NO_ERROR")
	busy.await("0: GOAWAY NO_ERROR")
	close(finish)
	busy.await("1: 5 bytes")
	if err := <-s.done; err != nil {
		t.Errorf("serve returned %v", err)
	}
}
