package fcgi_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/gateway/fcgi"
)

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrote []byte
		want  string
	}{
		{"begin", fcgi.AppendBegin(nil, 1, fcgi.KeepConn), "\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00"},
		{"end", fcgi.AppendEnd(nil, 0x0203, 0x01020304, fcgi.Overloaded), "\x01\x03\x02\x03\x00\x08\x00\x00\x01\x02\x03\x04\x02\x00\x00\x00"},
		{"empty", fcgi.AppendRecord(nil, fcgi.Stdin, 1), "\x01\x05\x00\x01\x00\x00\x00\x00"},
		{"stream", fcgi.AppendStream(nil, fcgi.Stdout, 1, []byte("abc")), "\x01\x06\x00\x01\x00\x03\x00\x00abc"},
		{"no stream", fcgi.AppendStream(nil, fcgi.Stdout, 1, nil), ""},
		{"short pair", fcgi.AppendPair(nil, "A", "bc"), "\x01\x02Abc"},
		{"long value", fcgi.AppendPair(nil, "A", strings.Repeat("x", 128)), "\x01\x80\x00\x00\x80A" + strings.Repeat("x", 128)},
		{"long name", fcgi.AppendPair(nil, strings.Repeat("x", 128), ""), "\x80\x00\x00\x80\x00" + strings.Repeat("x", 128)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(tt.wrote)); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
		})
	}
}

// A long stream is several records.
func TestLongStream(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	r := bufio.NewReader(bytes.NewReader(fcgi.AppendStream(nil, fcgi.Stdin, 7, data)))
	var got []byte
	for {
		h, err := fcgi.ReadHeader(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Type != fcgi.Stdin || h.ID != 7 || h.Length == 0 || h.Length > fcgi.MaxContent {
			t.Fatalf("the header is %+v", h)
		}
		content := make([]byte, h.Length)
		if _, err := io.ReadFull(r, content); err != nil {
			t.Fatal(err)
		}
		got = append(got, content...)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back of %d", len(got), len(data))
	}
}

func TestReadHeader(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        fcgi.Header
		fails       string
	}{
		{name: "record", input: "\x01\x06\x01\x02\x03\x04\x05\x00", want: fcgi.Header{Type: fcgi.Stdout, ID: 0x102, Length: 0x304, Padding: 5}},
		{name: "nothing", fails: "EOF"},
		{name: "cut", input: "\x01\x06\x01", fails: "unexpected EOF"},
		{name: "http", input: "GET / HTTP/1.1\r\n", fails: `it isn't FastCGI 1: it begins with "GET / HT"`},
		{name: "cut http", input: "GET", fails: `it isn't FastCGI 1: it begins with "GET"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := fcgi.ReadHeader(bufio.NewReader(strings.NewReader(tt.input)))
			if tt.fails != "" {
				if err == nil || err.Error() != tt.fails {
					t.Errorf("the error is %v; it must be %s", err, tt.fails)
				}
				return
			}
			if err != nil || h != tt.want {
				t.Errorf("it is %+v (%v); it must be %+v", h, err, tt.want)
			}
		})
	}
}

// FuzzPairs cuts pairs out of any bytes. What it takes reads as the same when it is written again.
func FuzzPairs(f *testing.F) {
	f.Add([]byte("\x01\x02Abc"))
	f.Add([]byte("\x80\x00\x00\x01\x00x"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		type pair struct{ name, value string }
		var pairs []pair
		for rest := data; len(rest) > 0; {
			name, value, tail, err := fcgi.CutPair(rest)
			if err != nil {
				return
			}
			if len(tail) >= len(rest) {
				t.Fatalf("of %d bytes %d are left", len(rest), len(tail))
			}
			pairs, rest = append(pairs, pair{name, value}), tail
			again = fcgi.AppendPair(again, name, value)
		}
		for i := 0; len(again) > 0; i++ {
			name, value, rest, err := fcgi.CutPair(again)
			if err != nil || i >= len(pairs) || pairs[i] != (pair{name, value}) {
				t.Fatalf("pair %d is %q: %q (%v) when it is written again", i, name, value, err)
			}
			again = rest
		}
	})
}
