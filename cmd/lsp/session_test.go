package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jsonrpc "github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/google/go-cmp/cmp"

	_ "github.com/stackd/stackd/components/standard"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// patience is how long a test waits for the server to do what it must.
const patience = 10 * time.Second

// editor is the other end of a server.
type editor struct {
	*jsonrpc.Client
	t         *testing.T
	published chan publishParams
	ended     chan error
	version   int
	leave     func() // closes what the server reads
}

// started starts a server and initializes it.
func started(t *testing.T, encodings ...string) *editor {
	t.Helper()
	e := connected(t, func(ctx context.Context, name string, o stackfile.Options) (stackfile.Problems, error) {
		return stackfile.Check(ctx, registry.Compiled(), name, o, false)
	})
	var p initializeParams
	p.Capabilities.General.PositionEncodings = encodings
	var r initializeResult
	e.call("initialize", p, &r)
	want := "utf-16"
	if len(encodings) > 0 {
		want = "utf-8"
	}
	if r.Capabilities.PositionEncoding != want {
		t.Errorf("positions are in %s; want %s", r.Capabilities.PositionEncoding, want)
	}
	e.notify("initialized", struct{}{})
	return e
}

// connected starts a server.
func connected(t *testing.T, check func(context.Context, string, stackfile.Options) (stackfile.Problems, error)) *editor {
	t.Helper()
	toServer, fromEditor := io.Pipe()
	toEditor, fromServer := io.Pipe()
	e := &editor{t: t, published: make(chan publishParams, 1000), ended: make(chan error, 1), leave: func() { _ = fromEditor.Close() }}
	go func() { e.ended <- Serve(t.Context(), toServer, fromServer, Dependencies{registry.Compiled(), check}) }()
	e.Client = jsonrpc.NewClient(channel.LSP(toEditor, fromEditor), &jsonrpc.ClientOptions{OnNotify: func(r *jsonrpc.Request) {
		var p publishParams
		if err := r.UnmarshalParams(&p); err != nil || r.Method() != "textDocument/publishDiagnostics" {
			t.Errorf("the server notifies of %s: %v", r.Method(), err)
		}
		e.published <- p
	}})
	t.Cleanup(func() {
		e.leave()
		_ = toEditor.Close()
		_ = fromServer.Close()
	})
	return e
}

func (e *editor) call(method string, params, result any) {
	e.t.Helper()
	if err := e.CallResult(e.t.Context(), method, params, result); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) notify(method string, params any) {
	e.t.Helper()
	if err := e.Notify(e.t.Context(), method, params); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

// put opens a document, or changes it, or closes it: the method is didOpen and so on.
func (e *editor) put(method, uri, text string) {
	e.t.Helper()
	e.version++
	document := map[string]any{"uri": uri, "version": e.version, "text": text}
	e.notify("textDocument/"+method, map[string]any{"textDocument": document, "contentChanges": []any{map[string]any{"text": text}}})
}

// awaitDiagnostics waits until the problems of a document are these, each as "line:column-line:column: rule: message".
func (e *editor) awaitDiagnostics(uri string, want ...string) {
	e.t.Helper()
	var last []string
	for {
		select {
		case p := <-e.published:
			if p.URI != uri {
				continue
			}
			last = nil
			for _, d := range p.Diagnostics {
				last = append(last, fmt.Sprintf("%d:%d-%d:%d: %s %d: %s", d.Range.Start.Line, d.Range.Start.Character, d.Range.End.Line, d.Range.End.Character, d.Code, d.Severity, d.Message))
			}
			if cmp.Equal(want, last) {
				return
			}
		case <-time.After(patience):
			e.t.Fatalf("the problems of %s are %q; want %q", uri, last, want)
		case err := <-e.ended:
			e.t.Fatalf("the server ended: %v; the problems of %s are %q", err, uri, last)
		}
	}
}

// cursor takes the mark out of a text, and returns where it was.
func cursor(t *testing.T, marked string) (text string, p position) {
	t.Helper()
	before, after, ok := strings.Cut(marked, "‸")
	if !ok {
		t.Fatal("the text has no cursor")
	}
	return before + after, editorLines(before+after, false).position(len(before))
}

// at opens a text as a document and returns what a request about the cursor in it has.
func (e *editor) at(uri, marked string) map[string]any {
	text, p := cursor(e.t, marked)
	e.put("didOpen", uri, text)
	return map[string]any{"textDocument": map[string]any{"uri": uri}, "position": p}
}

func fileURI(path string) string { return "file://" + path }

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSession goes through the states of a session.
func TestSession(t *testing.T) {
	never := func(context.Context, string, stackfile.Options) (stackfile.Problems, error) {
		return nil, errors.New("nothing is to be checked")
	}
	refused := func(t *testing.T, e *editor, method string, want jsonrpc.Code) {
		t.Helper()
		_, err := e.Call(t.Context(), method, nil)
		if got := jsonrpc.ErrorCode(err); got != want {
			t.Errorf("%s is answered with %v; want %d", method, err, want)
		}
	}
	t.Run("in order", func(t *testing.T) {
		e := connected(t, never)
		refused(t, e, "textDocument/hover", -32002)
		e.notify("textDocument/didOpen", map[string]any{}) // dropped
		e.call("initialize", initializeParams{}, new(initializeResult))
		refused(t, e, "initialize", jsonrpc.InvalidRequest)
		refused(t, e, "textDocument/rename", jsonrpc.MethodNotFound)
		e.notify("$/setTrace", map[string]any{"value": "off"})
		e.notify("workspace/didChangeConfiguration", map[string]any{})
		e.call("shutdown", nil, new(any))
		refused(t, e, "textDocument/hover", jsonrpc.InvalidRequest)
		refused(t, e, "shutdown", jsonrpc.InvalidRequest)
		e.notify("exit", struct{}{})
		if err := <-e.ended; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	t.Run("exit without shutdown", func(t *testing.T) {
		e := started(t)
		e.notify("exit", nil)
		if err := <-e.ended; err == nil || !strings.Contains(err.Error(), "without a shutdown") {
			t.Errorf("the server ends with %v; want an error", err)
		}
	})
	t.Run("an editor that is gone", func(t *testing.T) {
		e := started(t)
		e.leave()
		if err := <-e.ended; err == nil {
			t.Error("the server ends without an error")
		}
	})
	t.Run("a request for what isn't open", func(t *testing.T) {
		e := started(t)
		for _, method := range []string{"hover", "definition", "formatting"} {
			var result json.RawMessage
			e.call("textDocument/"+method, map[string]any{"textDocument": map[string]any{"uri": "file:///nothing.yaml"}}, &result)
			if string(result) != "null" {
				t.Errorf("%s is answered with %s", method, result)
			}
		}
	})
	for _, tt := range []struct{ name, message, want string }{
		{"too long", "Content-Length: 16777217\r\n\r\n", "16777216 at most"},
		{"far too long", "Content-Length: 99999999999999999999\r\n\r\n", "16777216 at most"},
		{"negative", "Content-Length: -1\r\n\r\n", "16777216 at most"},
		{"no length", "\r\n", "no Content-Length"},
		{"no header", "{}\r\n\r\n", "must be like Content-Length: 10"},
		{"a long header", strings.Repeat("x", 5000), "too long"},
		{"cut off", "Content-Length: 10\r\n\r\n{}", "unexpected EOF"},
	} {
		t.Run("a message that is "+tt.name, func(t *testing.T) {
			err := Serve(t.Context(), strings.NewReader(tt.message), io.Discard, Dependencies{registry.Compiled(), never})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the server ends with %v; want %s", err, tt.want)
			}
		})
	}
}

// TestSuperseded proves that a change ends the check that is under way, and that none outlives the server.
func TestSuperseded(t *testing.T) {
	begun, ended := make(chan string), make(chan string, 10)
	e := connected(t, func(ctx context.Context, _ string, o stackfile.Options) (stackfile.Problems, error) {
		text, _ := o.Unsaved("/stack.yaml")
		begun <- string(text)
		<-ctx.Done()
		ended <- string(text)
		return nil, ctx.Err()
	})
	e.call("initialize", initializeParams{}, new(initializeResult))
	for i, text := range []string{"stack: [a]", "stack: [b]", "stack: [c]"} {
		e.put("didChange", "file:///stack.yaml", text)
		if got := <-begun; got != text {
			t.Errorf("the check is of %s; want %s", got, text)
		}
		if i > 0 {
			<-ended
		}
	}
	e.notify("exit", nil)
	if err := <-e.ended; err == nil {
		t.Error("the server ends without an error")
	}
	select {
	case got := <-ended:
		if got != "stack: [c]" {
			t.Errorf("the last check was of %s", got)
		}
	default:
		t.Error("the server has ended, and a check goes on")
	}
}

// TestDiagnostics changes documents, and sees what is told of them.
func TestDiagnostics(t *testing.T) {
	const good = "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, status: 204}]\n"
	t.Run("come and go", func(t *testing.T) {
		e := started(t)
		e.put("didOpen", "file:///x/stack.yaml", "servers: [http]\nstack:\n  - sesion\n  - {use: respond, body: \"😀\", staus: 204}\n")
		e.awaitDiagnostics("file:///x/stack.yaml",
			`2:4-2:10: invalid 1: unknown middleware or app "sesion"; did you mean "session"?`,
			`3:31-3:36: invalid 1: respond has no setting "staus"; did you mean "status"?`)
		e.put("didChange", "file:///x/stack.yaml", good)
		e.awaitDiagnostics("file:///x/stack.yaml")
		e.put("didChange", "file:///x/stack.yaml", good+"urls:\n  /a: {respond: off")
		e.awaitDiagnostics("file:///x/stack.yaml", "3:2-3:4: invalid 1: a map that begins with { must have commas between its entries and be closed with }")
		e.put("didClose", "file:///x/stack.yaml", "")
		e.awaitDiagnostics("file:///x/stack.yaml")
	})
	t.Run("in bytes", func(t *testing.T) {
		e := started(t, "utf-16", "utf-8")
		e.put("didOpen", "file:///x/stack.yaml", "servers: [http]\nstack: [{use: respond, body: \"😀\", staus: 204}]\n")
		e.awaitDiagnostics("file:///x/stack.yaml", `1:37-1:42: invalid 1: respond has no setting "staus"; did you mean "status"?`)
	})
	t.Run("a warning and one that is allowed", func(t *testing.T) {
		e := started(t)
		e.put("didOpen", "file:///x/stack.yaml", good+"urls:\n  /a: {respond: {status: 204}}\n  # stackd:allow override-same for now\n  /b: {respond: {status: 204}}\n")
		e.awaitDiagnostics("file:///x/stack.yaml", "3:17-3:23: override-same 2: /a: respond.status is 204 already (line 2); leave it out")
	})
	t.Run("of files that it is made of", func(t *testing.T) {
		dir := t.TempDir()
		base := fileURI(write(t, dir, "base.yaml", "stack: [respond]\n"))
		more := fileURI(write(t, dir, "more.yaml", "urls: {/a: {respond: {statu: 200}}}\n"))
		main := fileURI(filepath.Join(dir, "stack.yaml"))
		e := started(t)
		e.put("didOpen", main, "extends: base.yaml\ninclude: more.yaml\nservers: [http]\n")
		e.awaitDiagnostics(more, `0:22-0:27: invalid 1: /a: respond has no setting "statu"; did you mean "status"?`)
		e.put("didOpen", more, "urls: {/a: {respond: {status: 201}}}\n")
		e.awaitDiagnostics(more)
		e.put("didOpen", base, "stack: [respnd]\n")
		e.awaitDiagnostics(base, `0:8-0:14: invalid 1: unknown middleware or app "respnd"; did you mean "respond"?`)
		e.put("didClose", base, "")
		e.awaitDiagnostics(base)
		e.put("didChange", more, "urls: {/a: {respond: {status: 2}}}\n")
		e.awaitDiagnostics(more, "0:30-0:31: invalid 1: /a: respond: status is 2; it must be at least 200")
		write(t, dir, "base.yaml", "stack: [errrs, respond]\n")
		e.put("didSave", main, "")
		e.awaitDiagnostics(base, `0:8-0:13: invalid 1: unknown middleware or app "errrs"; did you mean "errors"?`)
		e.put("didClose", main, "")
		e.awaitDiagnostics(more)
	})
	t.Run("of files that extend one another", func(t *testing.T) {
		e := started(t)
		e.put("didOpen", "file:///x/a.yaml", "extends: b.yaml\n")
		e.put("didOpen", "file:///x/b.yaml", "extends: a.yaml\n")
		e.awaitDiagnostics("file:///x/b.yaml", "0:9-0:15: invalid 1: extends: b.yaml extends a.yaml, which extends b.yaml; a file can't extend itself")
	})
	t.Run("of no file", func(t *testing.T) {
		dir := t.TempDir()
		base := write(t, dir, "base.yaml", "stack: [respond]\n")
		e := started(t)
		e.put("didOpen", "untitled:1", "extends: "+base+"\nservers: [http]\n")
		e.awaitDiagnostics("untitled:1", "0:9-0:"+fmt.Sprint(9+len(base))+": invalid 1: extends: "+base+" can't be read: file does not exist")
	})
	t.Run("of other YAML", func(t *testing.T) {
		e := started(t)
		for i, text := range []string{"services: {web: {image: x}}\nx: [\n", "openapi: 3.1.0\ninfo: {title: x}\nservers: [{url: /}]\n", "- hosts: all\n", "urls: {/a: {errors: off}}\n"} {
			e.put("didOpen", fmt.Sprintf("file:///x/%d.yaml", i), text)
			e.awaitDiagnostics(fmt.Sprintf("file:///x/%d.yaml", i))
		}
	})
	t.Run("after other ends of lines", func(t *testing.T) {
		e := started(t)
		e.put("didOpen", "file:///x/stack.yaml", "\uFEFFserver: [http]\rvars: {a: \"x\u2028y\"}\r\nstack: [respnd]\r\n")
		e.awaitDiagnostics("file:///x/stack.yaml", `0:1-0:7: invalid 1: unknown key "server"; did you mean "servers"?`, `2:8-2:14: invalid 1: unknown middleware or app "respnd"; did you mean "respond"?`)
	})
}
