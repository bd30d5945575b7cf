package static

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// body is a file, or a compressed sibling of it, as it was when it was looked at. It never changes.
type body struct {
	fs       fs.FS
	name     string
	encoding *encoding // nil for the file itself
	kept     bool      // whether it is in memory
	data     []byte    // if it is
	read     time.Time // when it was looked at
	seeks    bool      // whether parts of it can be sent
	version
}

// version is what tells one content of a file from another.
type version struct {
	info                   fs.FileInfo
	etag, length, modified []string // as header values; etag and modified may be missing
}

func stat(fsys fs.FS, name string) (fs.FileInfo, error) { return fs.Stat(fsys, name) }

// read looks at a file, and takes it into memory if it is small and there is room.
func (f *factory) read(fsys fs.FS, name string, e *encoding) (*body, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := &body{fs: fsys, name: name, encoding: e, read: time.Now()}
	if b.info, err = file.Stat(); err != nil {
		return nil, err
	}
	_, b.seeks = file.(io.Seeker)
	size := b.info.Size()
	if size > f.keepBelow || f.kept.Add(size) > f.memory {
		if size <= f.keepBelow {
			f.kept.Add(-size)
		}
		b.version = versionOf(b.info, e)
		return b, nil
	}
	// What was added is given back when the last app that uses the body is gone.
	runtime.AddCleanup(b, func(n int64) { f.kept.Add(-n) }, size)
	data := make([]byte, size)
	n := 0
	for n < len(data) && err == nil {
		var more int
		more, err = file.Read(data[n:])
		n += more
	}
	if err == nil {
		err = end(file)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	b.kept, b.data, b.seeks = true, data[:n], true
	b.version = versionOf(b.info, e)
	b.length = []string{strconv.Itoa(n)}
	sum := sha256.Sum256(b.data)
	b.etag = []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`}
	return b, nil
}

// end reads at the end of a file. Only there an archive says that what it gave isn't what was put into it. A file on disk
// that has become longer is none of our business.
func end(file fs.File) error {
	var more [1]byte
	_, err := file.Read(more[:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// versionOf returns what tells this version of a file that isn't in memory.
func versionOf(info fs.FileInfo, e *encoding) version {
	v := version{info: info, length: []string{strconv.FormatInt(info.Size(), 10)}}
	if t := info.ModTime(); dated(t) {
		suffix := ""
		if e != nil {
			suffix = "-" + e.name
		}
		v.modified = []string{t.UTC().Format(http.TimeFormat)}
		v.etag = []string{fmt.Sprintf(`"%x-%x%s"`, t.UnixNano(), info.Size(), suffix)}
	}
	return v
}

// is reports whether info is the body's still. A body that was read in the moment in which the file
// changed may be of before, whatever the times say.
func (b *body) is(info fs.FileInfo) bool {
	settled := b.read.Sub(info.ModTime()) > 2*time.Second
	return settled && same(b.info, info)
}

func same(a, b fs.FileInfo) bool {
	onDisk := os.SameFile(a, a)
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && (!onDisk || os.SameFile(a, b))
}

// send answers with b. When it returns an error, nothing was written.
func (a *app) send(w http.ResponseWriter, r *http.Request, b *body) error {
	if !b.kept {
		return a.sendFile(w, r, b)
	}
	if len(r.Header["Range"]) > 0 {
		a.header(w.Header(), b, &b.version)
		http.ServeContent(w, r, "", b.info.ModTime(), bytes.NewReader(b.data))
		return nil
	}
	if a.begin(w, r, b, &b.version) {
		w.Write(b.data)
	}
	return nil
}

// sendFile answers with b from the disk, as it is there now.
func (a *app) sendFile(w http.ResponseWriter, r *http.Request, b *body) error {
	file, err := b.fs.Open(b.name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	v := &b.version
	if !same(v.info, info) {
		changed := versionOf(info, b.encoding)
		v = &changed
	}
	if len(r.Header["Range"]) > 0 {
		if content, ok := file.(io.ReadSeeker); ok {
			a.header(w.Header(), b, v)
			http.ServeContent(w, r, "", info.ModTime(), content)
			if now, err := file.Stat(); err != nil || now.Size() < info.Size() {
				a.cut(r, errShort)
			}
			return nil
		}
	}
	if !a.begin(w, r, b, v) {
		return nil
	}
	n, err := io.CopyN(w, file, info.Size())
	if err == nil && !b.seeks {
		err = end(file)
	}
	if n < info.Size() || err != nil {
		a.cut(r, err)
	}
	return nil
}

// header sets what a 200 or a 206 says about the body, its length excepted.
func (a *app) header(h http.Header, b *body, v *version) {
	h["Content-Type"] = a.contentType
	if v.etag != nil {
		h["Etag"] = v.etag
	}
	if v.modified != nil {
		h["Last-Modified"] = v.modified
	}
	if b.encoding != nil {
		h["Content-Encoding"] = b.encoding.header
	} else if b.seeks {
		h["Accept-Ranges"] = acceptRanges
	}
}

// begin sends the header of the answer to a request without ranges, and reports whether the body is to
// follow.
func (a *app) begin(w http.ResponseWriter, r *http.Request, b *body, v *version) bool {
	h := w.Header()
	status := http.StatusOK
	if conditional(r.Header) {
		etag := ""
		if v.etag != nil {
			etag = v.etag[0]
		}
		status = verdict(r.Header, etag, v.info.ModTime())
	}
	switch status {
	case http.StatusNotModified:
		// RFC 9110, 15.4.5: what would guide a cache, and nothing else of what a 200 has.
		if v.etag != nil {
			h["Etag"] = v.etag
		} else if v.modified != nil {
			h["Last-Modified"] = v.modified
		}
		w.WriteHeader(status)
		return false
	case http.StatusPreconditionFailed:
		delete(h, "Cache-Control")
		http.Error(w, "412 precondition failed", status)
		return false
	}
	a.header(h, b, v)
	h["Content-Length"] = v.length
	w.WriteHeader(status)
	return r.Method != http.MethodHead && v.info.Size() > 0
}

// cut ends a response that can't be completed. A client that has gone is nobody's failure.
func (a *app) cut(r *http.Request, err error) {
	if _, ok := errors.AsType[*fs.PathError](err); ok && r.Context().Err() == nil {
		failure.Report(r, err)
	}
	panic(http.ErrAbortHandler)
}

// fail answers a request for a file that can't be opened any more.
func (a *app) fail(w http.ResponseWriter, r *http.Request, err error) {
	delete(w.Header(), "Cache-Control")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		http.NotFound(w, r)
		return
	}
	failure.Report(r, err)
}
