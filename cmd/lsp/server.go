package lsp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/handler"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// Dependencies are what a server works with.
type Dependencies struct {
	Registry *registry.Registry
	// Check returns what there is to say of a stack file, or of one with tests, as [stackfile.Check] does.
	Check func(ctx context.Context, name string, o stackfile.Options) (stackfile.Problems, error)
}

// Serve serves one editor until that says exit, or closes in. The error says that it didn't ask for a shutdown before.
func Serve(ctx context.Context, in io.Reader, out io.Writer, d Dependencies) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{
		Dependencies: d, ctx: ctx, exit: make(chan struct{}),
		documents: make(map[string]*document), published: make(map[string]publishParams), supersede: func() {},
	}
	s.handlers = handler.Map{
		"initialize":              handler.New(s.initialize),
		"initialized":             handler.New(func(context.Context, *jrpc2.Request) error { return nil }),
		"shutdown":                handler.New(s.shutdown),
		"textDocument/didOpen":    handler.New(s.didOpen),
		"textDocument/didChange":  handler.New(s.didChange),
		"textDocument/didSave":    handler.New(s.didSave),
		"textDocument/didClose":   handler.New(s.didClose),
		"textDocument/hover":      handler.New(s.hover),
		"textDocument/completion": handler.New(s.completion),
		"textDocument/definition": handler.New(s.definition),
		"textDocument/formatting": handler.New(s.formatting),
	}
	s.rpc = jrpc2.NewServer(s, &jrpc2.ServerOptions{
		AllowPush: true, DisableBuiltin: true, NewContext: func() context.Context { return ctx },
	})
	s.rpc.Start(&framing{bufio.NewReader(in), out})
	gone := make(chan error, 1)
	go func() { gone <- s.rpc.Wait() }()
	var err error
	select {
	case err = <-gone:
	case <-s.exit:
	case <-ctx.Done():
	}
	cancel()
	s.mu.Lock()
	s.over = true // no check begins any more
	down := s.state == down
	s.mu.Unlock()
	s.checks.Wait()
	s.loading.Lock()
	defer s.loading.Unlock()
	switch {
	case err != nil:
		return err
	case !down:
		return errors.New("the editor has gone without a shutdown")
	}
	return nil
}

// state is how far a session is.
type state int

const (
	early state = iota // before initialize
	up
	down // after shutdown
)

// server serves one editor.
type server struct {
	Dependencies
	ctx      context.Context
	rpc      *jrpc2.Server
	handlers handler.Map
	exit     chan struct{}

	mu        sync.Mutex
	state     state
	bytes     bool                 // what positions count, instead of UTF-16 code units
	documents map[string]*document // by URI
	over      bool
	supersede context.CancelFunc // ends the check that is under way
	checks    sync.WaitGroup

	// loading is held by who loads a stack file: one at a time, so that they take no more memory than one does.
	loading   sync.Mutex
	published map[string]publishParams // by URI; of who holds loading
}

// document is one that is open in the editor. It never changes; what changes is which one is under a URI.
type document struct {
	uri string
	// path is absolute; empty for one that is no file.
	path    string
	version int
	text    string
}

// Assign implements jrpc2's Assigner: it returns what handles a method, or nil.
func (s *server) Assign(_ context.Context, method string) jrpc2.Handler {
	if method == "exit" {
		return handler.New(func(context.Context, *jrpc2.Request) error { // whatever its parameters
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.over {
				s.over = true
				close(s.exit)
			}
			return nil
		})
	}
	if h := s.handlers[method]; h != nil {
		return func(ctx context.Context, r *jrpc2.Request) (any, error) {
			s.mu.Lock()
			state := s.state
			s.mu.Unlock()
			switch {
			case state == early && method != "initialize":
				return nil, jrpc2.Errorf(notInitialized, "the first request must be initialize")
			case state == down, state == up && method == "initialize":
				return nil, jrpc2.Errorf(jrpc2.InvalidRequest, "there can be no %s any more", method)
			}
			return h(ctx, r)
		}
	}
	return nil
}

func (s *server) initialize(_ context.Context, p initializeParams) (initializeResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = up
	c := capabilities{
		PositionEncoding: "utf-16", TextDocumentSync: syncOptions{OpenClose: true, Change: syncFull, Save: true},
		Hover: true, Definition: true, DocumentFormatting: true, Completion: completionOptions{[]string{" "}},
	}
	for _, encoding := range p.Capabilities.General.PositionEncodings {
		if encoding == "utf-8" {
			c.PositionEncoding, s.bytes = encoding, true
		}
	}
	return initializeResult{c, serverInfo{"stackd"}}, nil
}

func (s *server) shutdown(context.Context, *jrpc2.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = down
	s.supersede()
	return nil, nil
}

func (s *server) didOpen(_ context.Context, p documentParams) error {
	s.put(p, p.TextDocument.Text)
	return nil
}

func (s *server) didChange(_ context.Context, p documentParams) error {
	if n := len(p.ContentChanges); n > 0 {
		s.put(p, p.ContentChanges[n-1].Text)
	}
	return nil
}

// put takes a document's text.
func (s *server) put(p documentParams, text string) {
	d := &document{uri: p.TextDocument.URI, path: pathOf(p.TextDocument.URI), version: p.TextDocument.Version, text: text}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents[d.uri] = d
	s.recheck()
}

func (s *server) didSave(context.Context, *jrpc2.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recheck()
	return nil
}

func (s *server) didClose(_ context.Context, p documentParams) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documents, p.TextDocument.URI)
	s.recheck()
	return nil
}

// pathOf returns the absolute path of the file that a URI is of; empty if it isn't of one.
func pathOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || !filepath.IsAbs(u.Path) {
		return ""
	}
	return filepath.Clean(u.Path)
}

// uriOf returns the URI of a file: that by which the editor has it, if it has.
func uriOf(documents []*document, path string) string {
	for _, d := range documents {
		if d.path == path {
			return d.uri
		}
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// open returns the documents that are open.
func (s *server) open() (all []*document) {
	for _, d := range s.documents {
		all = append(all, d)
	}
	return all
}

// look returns a view of a document and the lines by which positions in it count; nil of one that isn't open, or that is no
// stack file.
func (s *server) look(p documentParams) (*view, lines) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.documents[p.TextDocument.URI]
	if d == nil || len(d.text) > maxText {
		return nil, lines{}
	}
	top := read(d.text)
	if foreign(top) {
		return nil, lines{}
	}
	return &view{s.Registry, s.open(), d, top}, editorLines(d.text, s.bytes)
}

// beside returns the path that a document means by one in it; empty for one that is no file.
func (d *document) beside(name string) string {
	switch {
	case d.path == "":
		return ""
	case filepath.IsAbs(name):
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(d.path), name)
}

// maxText is how large a stack file may be.
const maxText = 2 << 20

// textOf returns the text of a file, as the editor has it or as it is on disk.
func textOf(documents []*document, path string) (text string, ok bool) {
	for _, d := range documents {
		if d.path == path && path != "" {
			return d.text, len(d.text) <= maxText
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxText {
		return "", false
	}
	data, err := os.ReadFile(path)
	return string(data), err == nil
}
