package http

import (
	"bufio"
	"encoding/binary"
	"net"
	"time"

	"golang.org/x/net/http2/hpack"
)

// frames is a connection over HTTP/2 as net/http is to read it: what the client sends, but for two things that net/http
// would answer in its own way.
//
//   - Of several values that a SETTINGS frame has for one parameter the last is left (RFC 9113, 6.5.3); net/http
//     closes the connection when there are two.
//   - A request with a field that is about the connection is malformed (8.2.2), and its stream must be reset (8.1.1);
//     net/http only answers 400. Its header is followed by a WINDOW_UPDATE of 0, for which net/http resets a stream (6.9).
//
// And a header that has begun must be there within a time, for which net/http has no limit.
//
// Whatever else is wrong is left to net/http to find.
type frames struct {
	net.Conn
	r    *bufio.Reader
	out  []byte // what is to be read next, in place of what came or before it
	rest int    // how much of the frame at hand is to be read yet, as it came
	raw  bool   // all that follows is read as it came: net/http is going to close the connection

	// Of a header at hand, which is in a HEADERS and CONTINUATION frames.
	stream     uint32         // 0 for none
	last       bool           // the frame at hand is its last one
	skip, take int            // how much of the frame is to be skipped yet, and then belongs to the header
	within     time.Duration  // how long it may take to come
	limited    bool           // its time runs
	decoder    *hpack.Decoder // of all headers, since one refers to those before
	malformed  bool
	te         bool // the field was there
}

// Of RFC 9113, section 6.
const (
	frameHead    = 9
	settingSize  = 6
	priorityInfo = 5

	typeHeaders      = 0x1
	typeSettings     = 0x4
	typeWindowUpdate = 0x8
	typeContinuation = 0x9

	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	headerTableSize       = 0x1
	enablePush            = 0x2
	initialWindowSize     = 0x4
	maxFrameSize          = 0x5
	enableConnectProtocol = 0x8 // RFC 8441

	tableSize = 4 << 10 // what a client may assume when no setting tells another
)

// maxSettings is how many settings net/http accepts in a frame.
const maxSettings = 100

// newFrames returns what is to be read in place of nc, where headers may have maxHeader bytes, which must come within a time.
func newFrames(nc net.Conn, maxHeader int, within time.Duration) *frames {
	f := &frames{Conn: nc, within: within, r: bufio.NewReaderSize(nc, 1<<10)} // room for maxSettings, and most headers
	f.decoder = hpack.NewDecoder(tableSize, f.field)
	f.decoder.SetMaxStringLength(2 * maxHeader) // more than net/http accepts
	return f
}

// NetConn returns the connection below, as a [tls.Conn] does.
func (f *frames) NetConn() net.Conn { return f.Conn }

func (f *frames) Read(p []byte) (int, error) {
	if len(f.out) == 0 && f.rest == 0 && !f.raw {
		f.next()
	}
	if len(f.out) > 0 {
		n := copy(p, f.out)
		f.out = f.out[n:]
		return n, nil
	}
	if f.rest == 0 {
		return f.r.Read(p)
	}
	n, err := f.r.Read(p[:min(len(p), f.rest)])
	f.rest -= n
	if f.stream != 0 && !f.raw {
		f.decode(p[:n])
	}
	return n, err
}

// next ends the frame at hand and begins another. Where the connection ends first, what came is left to be read.
func (f *frames) next() {
	if f.stream != 0 && f.last {
		reset := f.malformed
		stream := f.stream
		f.stream = 0
		if f.limited {
			f.limited = false
			_ = f.SetReadDeadline(time.Time{}) // reading says what is wrong
		}
		if f.decoder.Close() != nil {
			f.raw = true
			return
		}
		if reset {
			f.out = append(f.out[:0], 0, 0, 4, typeWindowUpdate, 0)
			f.out = binary.BigEndian.AppendUint32(f.out, stream)
			f.out = binary.BigEndian.AppendUint32(f.out, 0)
			return
		}
	}
	head, err := f.r.Peek(frameHead)
	if err != nil {
		f.raw = true
		return
	}
	size, kind, flags := int(binary.BigEndian.Uint32(head)>>8), head[3], head[4]
	stream := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	f.rest = frameHead + size
	switch {
	case size > maxFrame, f.stream != 0 && (kind != typeContinuation || stream != f.stream):
		f.raw = true
	case kind == typeHeaders:
		f.stream, f.malformed, f.te = stream, false, false
		f.header(size, flags)
	case kind == typeContinuation:
		f.header(size, flags&flagEndHeaders)
	case kind == typeSettings && flags&flagAck == 0:
		f.settings(size)
	}
	if f.stream != 0 && !f.limited && (!f.last || f.r.Buffered() < f.rest) { // otherwise it is here
		f.limited = true
		_ = f.SetReadDeadline(time.Now().Add(f.within)) // as above
	}
}

// header finds what of the frame belongs to a header.
func (f *frames) header(size int, flags byte) {
	f.last = flags&flagEndHeaders != 0
	f.skip, f.take = frameHead, size
	if flags&flagPadded != 0 && size > 0 {
		head, err := f.r.Peek(frameHead + 1)
		if err != nil {
			f.raw = true
			return
		}
		f.skip++
		f.take -= 1 + int(head[frameHead])
	}
	if flags&flagPriority != 0 {
		f.skip += priorityInfo
		f.take -= priorityInfo
	}
	f.raw = f.take < 0
}

// decode takes what was read of a frame with a header.
func (f *frames) decode(p []byte) {
	n := min(len(p), f.skip)
	f.skip -= n
	p = p[n:]
	p = p[:max(min(len(p), f.take), 0)]
	f.take -= len(p)
	if _, err := f.decoder.Write(p); err != nil {
		f.raw = true
	}
}

// field takes one of a header.
func (f *frames) field(field hpack.HeaderField) {
	switch field.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		f.malformed = true
	case "te":
		f.malformed = f.malformed || f.te || field.Value != "trailers" && field.Value != ""
		f.te = true
	}
}

// settings replaces a frame with several values for a parameter. The size of the table stays as it is: the smallest that
// it had in between would have to be told (RFC 7541, 4.2).
func (f *frames) settings(size int) {
	if size%settingSize != 0 || size > maxSettings*settingSize {
		return
	}
	frame, err := f.r.Peek(frameHead + size)
	if err != nil {
		return
	}
	left := append(f.out[:0], frame[:frameHead]...)
	for frame = frame[frameHead:]; len(frame) > 0; frame = frame[settingSize:] {
		if !overridden(frame) {
			left = append(left, frame[:settingSize]...)
		}
	}
	f.out = left
	f.rest = 0
	_, _ = f.r.Discard(frameHead + size) // which are there
	binary.BigEndian.PutUint32(f.out, uint32(len(left)-frameHead)<<8|typeSettings)
}

// overridden reports whether the first of these settings is without effect, because another follows that has its parameter.
// An error is not.
func overridden(settings []byte) bool {
	id, value := binary.BigEndian.Uint16(settings), binary.BigEndian.Uint32(settings[2:])
	switch {
	case id == headerTableSize, (id == enablePush || id == enableConnectProtocol) && value > 1,
		id == initialWindowSize && value >= 1<<31, id == maxFrameSize && (value < 16<<10 || value >= 1<<24):
		return false
	}
	for settings = settings[settingSize:]; len(settings) > 0; settings = settings[settingSize:] {
		if binary.BigEndian.Uint16(settings) == id {
			return true
		}
	}
	return false
}
