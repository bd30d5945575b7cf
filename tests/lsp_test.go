package tests

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
)

// lspSession is stackd lsp as an editor runs it.
type lspSession struct {
	*jrpc2.Client
	t         *testing.T
	cmd       *exec.Cmd
	published chan string // the parameters of publishDiagnostics
}

func lsp(t *testing.T, dir string) *lspSession {
	t.Helper()
	s := &lspSession{t: t, cmd: exec.CommandContext(t.Context(), built(t), "lsp"), published: make(chan string, 100)}
	s.cmd.Dir = dir
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.Client = jrpc2.NewClient(channel.LSP(out, in), &jrpc2.ClientOptions{OnNotify: func(r *jrpc2.Request) { s.published <- r.ParamString() }})
	s.ask("initialize", `{"processId":null,"rootUri":null,"capabilities":{"general":{"positionEncodings":["utf-16"]}}}`, `"textDocumentSync":{"openClose":true,"change":1,"save":true}`)
	s.tell("initialized", `{}`)
	return s
}

// ask sends a request, whose answer must have a text in it.
func (s *lspSession) ask(method, params, want string) {
	s.t.Helper()
	var result json.RawMessage
	if err := s.CallResult(s.t.Context(), method, json.RawMessage(params), &result); err != nil || !strings.Contains(string(result), want) {
		s.t.Errorf("%s is answered with %s, %v; want %s in it", method, result, err, want)
	}
}

func (s *lspSession) tell(method, params string) {
	s.t.Helper()
	if err := s.Notify(s.t.Context(), method, json.RawMessage(params)); err != nil {
		s.t.Fatal(err)
	}
}

// open opens a document, or changes it.
func (s *lspSession) open(path, text string, version int) {
	s.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		s.t.Fatal(err)
	}
	method, change := "textDocument/didOpen", ""
	if version > 1 {
		method, change = "textDocument/didChange", `,"contentChanges":[{"text":`+string(quoted)+`}]`
	}
	s.tell(method, `{"textDocument":{"uri":"file://`+path+`","languageId":"yaml","version":`+strconv.Itoa(version)+`,"text":`+string(quoted)+`}`+change+`}`)
}

// await waits for the diagnostics of a version of a file, which must be these.
func (s *lspSession) await(path string, version int, want string) {
	s.t.Helper()
	for {
		select {
		case got := <-s.published:
			if !strings.HasPrefix(got, `{"uri":"file://`+path+`","version":`+strconv.Itoa(version)+`,`) {
				continue
			}
			if !strings.Contains(got, want) {
				s.t.Errorf("the diagnostics are %s; want %s", got, want)
			}
			return
		case <-time.After(patience):
			s.t.Fatalf("there are no diagnostics of %s", path)
		}
	}
}

// ends waits for the end of the process, which must have that exit status.
func (s *lspSession) ends(want int) {
	s.t.Helper()
	err := s.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || s.cmd.ProcessState.ExitCode() != want {
		s.t.Errorf("it ends with %v, %v; want the status %d", err, exit, want)
	}
}

// TestLSP is a session of somebody who writes a stack file.
func TestLSP(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stack.yaml")
	good, err := os.ReadFile("../stacks/webware.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "lifetime: 12h", "lifetme: 12h", 1)
	line := strings.Count(bad[:strings.Index(bad, "lifetme")], "\n")
	at := `{"textDocument":{"uri":"file://` + path + `"},"position":{"line":` + strconv.Itoa(line) + `,"character":10}}`

	s := lsp(t, dir)
	s.open(path, bad, 1)
	s.await(path, 1, `[{"range":{"start":{"line":`+strconv.Itoa(line)+`,"character":4},"end":{"line":`+strconv.Itoa(line)+`,"character":11}},"severity":1,"code":"invalid","source":"stackd","message":"session has no setting \"lifetme\"; did you mean \"lifetime\"?"}]`)
	s.ask("textDocument/completion", at, `"newText":"lifetime"`)
	s.open(path, string(good), 2)
	s.await(path, 2, `"diagnostics":[]`)
	s.ask("textDocument/hover", at, "/admin/: lifetime is 15m (stack.yaml:")
	s.ask("textDocument/formatting", at, `[]`)

	// Tests are about the stack as it is in the editor.
	tests := filepath.Join(dir, "stack.test.yaml")
	s.open(tests, "tests: [{ask: /, expect: {ran: [sesion]}}]\n", 1)
	s.await(tests, 1, `expect.ran[0]: the stack has no slot`)
	if fds, err := filepath.Glob("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/fd/*"); err == nil {
		for _, fd := range fds {
			if what, _ := os.Readlink(fd); strings.HasPrefix(what, "socket:") {
				t.Errorf("it has a socket open: %s", fd)
			}
		}
	}
	s.ask("shutdown", `{}`, "null")
	s.tell("exit", `{}`)
	s.ends(0)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("it has written %v, %v", files, err)
	}

	s = lsp(t, dir)
	s.tell("exit", `{}`)
	s.ends(1)
}
