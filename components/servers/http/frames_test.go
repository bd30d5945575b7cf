package http

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// pieces is a connection from which is read what it has, in pieces of these sizes, and then by the byte.
type pieces struct {
	net.Conn
	bytes []byte
	sizes []byte
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.bytes) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(c.sizes) > 0 {
		n, c.sizes = max(int(c.sizes[0]), 1), c.sizes[1:]
	}
	n = copy(p, c.bytes[:min(n, len(c.bytes))])
	c.bytes = c.bytes[n:]
	return n, nil
}

// SetReadDeadline does nothing: all that comes is here.
func (*pieces) SetReadDeadline(time.Time) error { return nil }

// written are the frames that f writes.
func written(f func(fr *http2.Framer, enc *hpack.Encoder, block *bytes.Buffer)) []byte {
	var out, block bytes.Buffer
	fr := http2.NewFramer(&out, nil)
	fr.AllowIllegalWrites = true
	f(fr, hpack.NewEncoder(&block), &block)
	return out.Bytes()
}

// fields returns the block of a header with these, each as "name: value".
func fields(enc *hpack.Encoder, block *bytes.Buffer, all ...string) []byte {
	block.Reset()
	for _, field := range all {
		name, value, _ := strings.Cut(field, ": ")
		_ = enc.WriteField(hpack.HeaderField{Name: name, Value: value}) // to a buffer
	}
	return bytes.Clone(block.Bytes())
}

// read is what frames leave to be read of in. Where the header of a request ends there is a mark in place of the frame that
// has its stream reset.
func readFrames(t *testing.T, in, sizes []byte, length int) []byte {
	t.Helper()
	f := newFrames(&pieces{bytes: in, sizes: sizes}, 64<<10, time.Minute)
	var out []byte
	p := make([]byte, length)
	for {
		n, err := f.Read(p)
		out = append(out, p[:n]...)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expected is a plain account of what frames do: it has all of in at once.
func expected(in []byte) (out []byte) {
	malformed, te, stream, open := false, 0, uint32(0), false
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == "te" {
			te++
			malformed = malformed || te > 1 || !slices.Contains([]string{"", "trailers"}, f.Value)
		}
		malformed = malformed || slices.Contains([]string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}, f.Name)
	})
	dec.SetMaxStringLength(128 << 10)
	for len(in) >= 9 {
		size := int(in[0])<<16 | int(in[1])<<8 | int(in[2])
		kind, flags, id := http2.FrameType(in[3]), http2.Flags(in[4]), binary.BigEndian.Uint32(in[5:])<<1>>1
		if size > 16<<10 || 9+size > len(in) && kind == http2.FrameSettings || open && (kind != http2.FrameContinuation || id != stream) {
			break
		}
		body := in[9:min(9+size, len(in))]
		whole := len(body) == size
		frame := in[:9+len(body)]
		in = in[len(frame):]
		switch {
		case kind == http2.FrameHeaders && id != 0 || open:
			if kind == http2.FrameHeaders {
				malformed, te, stream, open = false, 0, id, true
			} else {
				flags &= http2.FlagContinuationEndHeaders
			}
			pad := 0
			if flags.Has(http2.FlagHeadersPadded) && size > 0 {
				if len(body) == 0 {
					return append(out, frame...)
				}
				pad, body, size = int(body[0]), body[1:], size-1
			}
			if flags.Has(http2.FlagHeadersPriority) {
				body, size = body[min(5, len(body)):], size-5
			}
			if size-pad < 0 {
				return append(append(out, frame...), in...)
			}
			if _, err := dec.Write(body[:min(len(body), size-pad)]); err != nil {
				return append(append(out, frame...), in...)
			}
			out = append(out, frame...)
			if flags.Has(http2.FlagHeadersEndHeaders) && whole {
				open = false
				if dec.Close() != nil {
					return append(out, in...)
				}
				if malformed {
					out = append(out, 0, 0, 4, 8, 0)
					out = binary.BigEndian.AppendUint32(out, stream)
					out = append(out, 0, 0, 0, 0)
				}
			}
			continue
		case kind == http2.FrameSettings && !flags.Has(http2.FlagSettingsAck) && size%6 == 0 && size <= 600:
			var left []byte
			for i := 0; i < len(body); i += 6 {
				s := http2.Setting{ID: http2.SettingID(binary.BigEndian.Uint16(body[i:])), Val: binary.BigEndian.Uint32(body[i+2:])}
				again := false
				for j := i + 6; j < len(body); j += 6 {
					again = again || bytes.Equal(body[i:i+2], body[j:j+2])
				}
				if !again || s.ID == http2.SettingHeaderTableSize || s.Valid() != nil {
					left = append(left, body[i:i+6]...)
				}
			}
			out = append(out, byte(len(left)>>16), byte(len(left)>>8), byte(len(left)))
			out = append(append(out, frame[3:9]...), left...)
			continue
		}
		out = append(out, frame...)
	}
	return append(out, in...)
}

// examples are connections that clients could have.
func examples() map[string][]byte {
	get := []string{":method: GET", ":scheme: http", ":path: /", ":authority: x"}
	long := "x-long: " + strings.Repeat("long ", 1000)
	request := func(more ...string) []byte {
		return written(func(fr *http2.Framer, enc *hpack.Encoder, block *bytes.Buffer) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 15})
			for stream := range uint32(3) {
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*stream + 1, BlockFragment: fields(enc, block, append(get, more...)...), EndHeaders: true})
				_ = fr.WriteData(2*stream+1, true, []byte("a body\x00\x00\x04\x01"))
			}
		})
	}
	all := map[string][]byte{
		"nothing":                  nil,
		"a request":                request("user-agent: someone"),
		"te: trailers":             request("te: trailers"),
		"te twice":                 request("te: trailers", "te: trailers"),
		"te with a coding":         request("te: trailers, deflate"),
		"connection":               request("connection: keep-alive"),
		"a length of 0 in a frame": append(request(), make([]byte, 9)...),
		"cut in a head":            append(request(), 0, 0, 8, 6),
		"cut in settings":          append(request(), 0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0),
		"cut in a header":          append(request(), 0, 0, 12, 1, 8+4, 0, 0, 0, 9, 0, 0x82),
		"cut before the padding":   append(request(), 0, 0, 12, 1, 8+4, 0, 0, 0, 9),
		"too much padding":         append(request(), 0, 0, 2, 1, 8+4, 0, 0, 0, 9, 2, 0x82),
		"too long a frame":         append(request(), 1, 0, 0, 0, 0, 0, 0, 0, 1, 4, 4, 4),
	}
	all["of many frames, padded, with a priority"] = written(func(fr *http2.Framer, enc *hpack.Encoder, block *bytes.Buffer) {
		for stream, more := range []string{"accept: */*", "upgrade: websocket", "accept: */*"} {
			id := uint32(2*stream + 1)
			b := fields(enc, block, append(get, long, more)...)
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:20], PadLength: 9, Priority: http2.PriorityParam{Weight: 3}})
			for ; len(b) > 120; b = b[100:] {
				_ = fr.WriteContinuation(id, false, b[20:120])
			}
			_ = fr.WriteContinuation(id, false, nil)
			_ = fr.WriteContinuation(id, true, b[20:])
			_ = fr.WriteDataPadded(id, true, []byte("data"), make([]byte, 200))
		}
	})
	all["settings twice"] = written(func(fr *http2.Framer, _ *hpack.Encoder, _ *bytes.Buffer) {
		_ = fr.WriteSettings(http2.Setting{ID: 4, Val: 1}, http2.Setting{ID: 5, Val: 1 << 14}, http2.Setting{ID: 4, Val: 2}, http2.Setting{ID: 4, Val: 3})
		_ = fr.WriteSettings(http2.Setting{ID: 4, Val: 1 << 31}, http2.Setting{ID: 4, Val: 2})
		_ = fr.WriteSettings(http2.Setting{ID: 1, Val: 0}, http2.Setting{ID: 1, Val: 4096})
		_ = fr.WriteSettings(http2.Setting{ID: 2, Val: 7}, http2.Setting{ID: 2, Val: 0}, http2.Setting{ID: 5, Val: 7}, http2.Setting{ID: 5, Val: 1 << 14})
		_ = fr.WriteSettings(slices.Repeat([]http2.Setting{{ID: 0xfafa, Val: 1}}, 100)...)
		_ = fr.WriteSettings(slices.Repeat([]http2.Setting{{ID: 0xfafa, Val: 1}}, 101)...)
		_ = fr.WriteSettingsAck()
	})
	all["another frame within a header"] = written(func(fr *http2.Framer, enc *hpack.Encoder, block *bytes.Buffer) {
		b := fields(enc, block, append(get, "connection: close")...)
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:5]})
		_ = fr.WritePing(false, [8]byte{})
		_ = fr.WriteContinuation(1, true, b[5:])
	})
	return all
}

func TestFrames(t *testing.T) {
	for name, in := range examples() {
		t.Run(name, func(t *testing.T) {
			want := expected(in)
			for _, sizes := range []string{"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x09\x01\x05\x07\xff"} {
				for _, length := range []int{1, 9, 16 << 10} {
					if got := readFrames(t, in, []byte(sizes), length); !bytes.Equal(got, want) {
						t.Errorf("in pieces of %q by %d: read\n%x, want\n%x", sizes, length, got, want)
					}
				}
			}
		})
	}
	t.Run("nothing is changed without need", func(t *testing.T) {
		in := examples()["a request"]
		if got := readFrames(t, in, nil, 9); !bytes.Equal(got, in) {
			t.Errorf("read\n%x, want\n%x", got, in)
		}
	})
	t.Run("a stream is reset behind its header", func(t *testing.T) {
		in := examples()["connection"]
		got := readFrames(t, in, nil, 9)
		if n := bytes.Count(got, []byte{0, 0, 4, 8, 0}); n != 3 || len(got) != len(in)+3*13 {
			t.Errorf("%d windows were updated by 0; want 3", n)
		}
	})
	t.Run("the last setting stays", func(t *testing.T) {
		got := readFrames(t, examples()["settings twice"], nil, 9)
		if want := "\x00\x00\x0c\x04\x00\x00\x00\x00\x00" + "\x00\x05\x00\x00\x40\x00" + "\x00\x04\x00\x00\x00\x03"; !bytes.HasPrefix(got, []byte(want)) {
			t.Errorf("read %x; want it to begin with %x", got, want)
		}
	})
}

func FuzzFrames(f *testing.F) {
	for _, in := range examples() {
		f.Add(in, []byte("\x09\xff\x01\xff"), uint16(100))
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte, length uint16) {
		if got, want := readFrames(t, in, sizes, int(length)+1), expected(in); !bytes.Equal(got, want) {
			t.Errorf("read\n%x, want\n%x", got, want)
		}
	})
}
