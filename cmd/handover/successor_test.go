package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/serve"
)

// TestMain is a successor, if it is started as one.
func TestMain(m *testing.M) {
	if mode := os.Getenv("HANDOVER_TEST"); mode != "" {
		if err := succeed(mode); err != nil {
			fmt.Fprintln(os.Stderr, "successor:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// succeed is what a successor does. Those that behave badly speak as they like.
func succeed(mode string) error {
	fmt.Fprintln(os.Stderr, "early")
	if mode != "good" {
		f := os.NewFile(3, "predecessor")
		switch mode {
		case "babble":
			_, err := f.WriteString("GET / HTTP/1.1\r\n\r\n")
			return errors.Join(err, wait(f))
		case "too early":
			_, err := f.WriteString(`{"event":"taken"}` + "\n")
			return errors.Join(err, wait(f))
		case "endless":
			for {
				if _, err := f.WriteString(strings.Repeat("x", 1<<16)); err != nil {
					return err
				}
			}
		case "closes":
			return f.Close()
		case "dies late":
			_, err := f.WriteString(`{"event":"ready","later":"versions may add this"}` + "\n")
			lines := bufio.NewReader(f)
			for range 2 { // the greeting, and that it shall take over
				if _, again := lines.ReadBytes('\n'); again != nil {
					return again
				}
			}
			return errors.Join(err, errors.New("died late"))
		}
	}
	var s Sockets
	p, err := Open(&s)
	if err != nil {
		return err
	}
	in, err := s.Inherit(context.Background(), serve.Server{Address: "127.0.0.1:0"})
	if err != nil || in.File == nil {
		return fmt.Errorf("no socket: %w", err)
	}
	ln, err := net.FileListener(in.File)
	if err != nil {
		return err
	}
	if in.Ours() {
		return errors.New("it is ours before it was left to us")
	}
	if err := p.TakeOver(context.Background()); err != nil {
		return err
	}
	if !in.Ours() {
		return errors.New("it isn't ours, though it was left to us")
	}
	s.Drop()
	fmt.Fprintln(os.Stderr, "late")
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c, "%d %s", p.PID, strings.Join(s.Unclaimed(), ","))
	return errors.Join(err, c.Close())
}

// wait reads until the other end is closed.
func wait(f *os.File) error {
	_, err := io.Copy(io.Discard, f)
	return err
}

// start starts a successor that hands over a TCP socket, a unix socket, and one that a service manager has opened.
func start(ctx context.Context, t *testing.T, mode string) (s *Successor, bound, path, log string, err error) {
	t.Helper()
	tcp, bound := opened(t, "tcp", "127.0.0.1:0")
	defer tcp.Close()
	path = filepath.Join(t.TempDir(), "s")
	local, _ := opened(t, "unix", path)
	defer local.Close()
	var theirs Sockets
	defer theirs.Close()
	spare, _ := opened(t, "tcp", "127.0.0.1:0")
	theirs.Add("spare", spare)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	s, err = Start(ctx, Program{Path: os.Args[0], Args: []string{"stackd"}, Env: []string{"HANDOVER_TEST=" + mode, "GORACE=atexit_sleep_ms=0"}, Stderr: stderr},
		[]serve.Handed{{Address: "127.0.0.1:0", File: tcp, Ours: true}, {Address: "unix:" + path, File: local, Ours: true}}, &theirs)
	return s, bound, path, stderr.Name(), err
}

func TestSuccessor(t *testing.T) {
	s, bound, path, log, err := start(t.Context(), t, "good")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket that nobody asked for is gone before this process has left: %v", err)
	}
	if err := s.Release(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("tcp", bound)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if want := fmt.Sprint(os.Getpid(), " 127.0.0.1:"); err != nil || !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), ` ("spare")`) {
		t.Errorf("the successor says %q, %v; want %s and the spare socket", got, err, want)
	}
	<-s.ended
	if s.why != nil {
		t.Errorf("it ends with %v", s.why)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket that nobody asked for is left: %v", err)
	}
	said, err := os.ReadFile(log)
	if err != nil || string(said) != "early\nlate\n" {
		t.Errorf("the standard error has %q, %v", said, err)
	}
}

func TestSuccessorFails(t *testing.T) {
	tests := map[string]string{
		"babble":    `the new process gives up: it says "GET / HTTP/1.1\r\n", and not "ready"`,
		"too early": `the new process gives up: it says "{\"event\":\"taken\"}\n", and not "ready"`,
		"endless":   `the new process gives up: it says "xxx`,
		"closes":    `the new process ended before it was ready, without an error; is it stackd?`,
		"dies late": `the new process ended before it was ready: exit status 1`,
	}
	for mode, want := range tests {
		t.Run(mode, func(t *testing.T) {
			s, _, path, log, err := start(t.Context(), t, mode)
			failure, ok := errors.AsType[*Failure](err)
			if s != nil || !ok || !strings.HasPrefix(failure.Error(), want) {
				t.Fatalf("error %v, want %s", err, want)
			}
			if !strings.HasPrefix(failure.Output, "early") {
				t.Errorf("what it wrote is %q", failure.Output)
			}
			if said, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(said), "early\n") {
				t.Errorf("the standard error has %q, %v", said, err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSuccessorGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("asked to stop")
	cancel(why)
	if _, _, _, _, err := start(ctx, t, "closes"); !errors.Is(err, why) && !strings.Contains(fmt.Sprint(err), "gives up") {
		t.Errorf("error %v, want %v", err, why)
	}
}

// TestOpenRefused has nobody hand over.
func TestOpenRefused(t *testing.T) {
	for value, want := range map[string]string{
		"yes":  `STACKD_UPGRADE is "yes"; it is set by a stackd that starts another one, and must not be set otherwise`,
		"0":    `STACKD_UPGRADE is "0"; it is set by`,
		"9999": `STACKD_UPGRADE is "9999", but nobody is there who hands over: descriptor 9999: bad file descriptor`,
	} {
		t.Setenv(variable, value)
		var s Sockets
		p, err := Open(&s)
		if p != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if _, set := os.LookupEnv(variable); set {
			t.Error("the variable is left for all programs that this one starts")
		}
	}
	if p, err := Open(&Sockets{}); p != nil || err != nil {
		t.Errorf("%v, %v without the variable", p, err)
	}
}

// TestPredecessorDies holds that a successor takes over when its predecessor is gone.
func TestPredecessorDies(t *testing.T) {
	mine, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	tcp, bound := opened(t, "tcp", "127.0.0.1:0")
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "HANDOVER_TEST=good", "GORACE=atexit_sleep_ms=0", variable+"=3")
	c.ExtraFiles = []*os.File{theirs, os.Stderr, tcp}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	tcp.Close()
	theirs.Close()
	text, err := json.Marshal(Greeting{PID: 1, Stderr: 4, Sockets: []Handed{{FD: 5, Address: "127.0.0.1:0", Ours: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	mine.Close() // as the system does when a process dies
	conn, err := net.DialTimeout("tcp", bound, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "1 " {
		t.Errorf("the successor says %q, %v", got, err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestTail(t *testing.T) {
	var s tail
	for i := range 10000 {
		_, _ = s.Write(fmt.Appendf(nil, "line %d\n", i))
	}
	text := s.String()
	if len(text) > maxTail || !strings.HasSuffix(text, "line 9998\nline 9999") || !strings.HasPrefix(text, "line ") {
		t.Errorf("%d bytes: %.20q", len(text), text)
	}
	var long tail
	_, _ = long.Write([]byte(strings.Repeat("x", 10*maxTail)))
	if got := long.String(); len(got) != maxTail {
		t.Errorf("%d bytes of one line", len(got))
	}
}
