package registrytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stackd/stackd/registry"
)

const serverContract = "package registry, ServeFunc"

var serverRules = []rule{
	{name: "serve", text: "it answers each request with the handler, over TCP and unix sockets", where: serverContract, check: serverServes},
	{name: "flush", text: "what is flushed reaches the client before the handler ends", where: serverContract, check: serverFlushes},
	{name: "concurrent", text: "requests run concurrently, and each gets its own answer", where: mustKeepTo, check: serverConcurrent},
	{name: "abort", text: "http.ErrAbortHandler cuts the connection, and nothing else", where: mustKeepTo, check: serverAborts},
	{name: "client gone", text: "the request's context ends when the client goes away", where: mustKeepTo, check: serverClientGone},
	{name: "finish", text: "when ctx ends, requests under way finish, and then it returns nil", where: serverContract, check: serverFinishes},
	{name: "refuse", text: "when ctx ends, it stops accepting and closes idle connections, though requests are under way", where: serverContract, check: serverRefuses},
	{name: "listeners", text: "it may be called for several listeners at a time; each ends by itself", where: serverContract, check: serverListeners},
	{name: "again", text: "it may be called again after it returned", where: serverContract, check: serverAgain},
	{name: "short of files", text: "an Accept that fails for want of files is tried again", where: serverContract, check: serverShort},
	{name: "broken listener", text: "an error before ctx ended says that it can't go on", where: serverContract, check: serverBroken},
}

// serving is a call of a ServeFunc that is under way.
type serving struct {
	k        *kit
	listener net.Listener
	end      context.CancelFunc
	returned chan error
	client   http.RoundTripper
}

// serving calls a ServeFunc; the call is over when the check is.
func (k *kit) serving(serve registry.ServeFunc, network string, h http.HandlerFunc) (*serving, error) {
	address := "127.0.0.1:0"
	if network == "unix" {
		// A socket's path must be short, which that of t.TempDir need not be.
		address = filepath.Join(k.t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{k: k, listener: l, end: cancel, returned: make(chan error, 1)}
	switch {
	case k.process:
		s.listener, s.client = processes{l}, starter{l.Addr()}
	case k.client != nil:
		s.client = k.client(l.Addr())
	default:
		s.client = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: concurrency, DialContext: s.dial}
	}
	go func() { s.returned <- protect(func() error { return serve(ctx, s.listener, h) }) }()
	k.first(func() {
		cancel()
		s.idle()
		if err := s.over(); err != nil {
			k.fault(&serverReturns, err)
		}
		_ = l.Close() // the server has closed it most likely
	})
	return s, nil
}

var serverReturns = rule{
	name:  "return",
	text:  "when ctx has ended and the requests under way are finished, it returns nil",
	where: serverContract,
}

func (s *serving) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, s.listener.Addr().Network(), s.listener.Addr().String())
}

// idle closes the client's idle connections.
func (s *serving) idle() {
	if c, ok := s.client.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// over waits for the call to return, once or more often.
func (s *serving) over() error {
	return s.k.within("ServeFunc", func(ctx context.Context) error {
		select {
		case err := <-s.returned:
			s.returned <- err
			return err
		case <-ctx.Done():
			s.k.hangs.Store(true)
			return errors.New("ServeFunc doesn't return")
		}
	})
}

// ask sends a request and reads the answer whole.
func (s *serving) ask(ctx context.Context, method, path, body string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://kit.example"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := s.client.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: string(text)}, nil
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/x-echo")
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.URL.RequestURI(), body) // the client looks at it
}

// echoes returns an error unless a request is answered by echo.
func (s *serving) echoes(ctx context.Context, path, body string) error {
	a, err := s.ask(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	return a.has(http.StatusAccepted, "POST kit.example "+path+" "+body, "Content-Type", "text/x-echo")
}

func serverServes(k *kit) error {
	for _, network := range []string{"tcp", "unix"} {
		serve, err := product[registry.ServeFunc](k)
		if err != nil {
			return err
		}
		s, err := k.serving(serve, network, echo)
		if err != nil {
			return err
		}
		err = k.within("the exchange", func(ctx context.Context) error {
			for _, body := range []string{"body", "", strings.Repeat("0123456789", 10_000)} {
				if err := s.echoes(ctx, "/some%20path/?a=b&a=c", body); err != nil {
					return err
				}
			}
			head, err := s.ask(ctx, http.MethodHead, "/", "")
			if err != nil {
				return fmt.Errorf("HEAD: %w", err)
			}
			return head.has(http.StatusAccepted, "", "Content-Type", "text/x-echo")
		})
		if err != nil {
			return fmt.Errorf("over %s: %w", network, err)
		}
	}
	return nil
}

func serverFlushes(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	release := make(chan struct{})
	s, err := k.serving(serve, "tcp", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first,")        // the client looks at it
		_ = http.NewResponseController(w).Flush() // the client waits for it
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "second") // the client looks at it
	})
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kit.example/", nil)
		if err != nil {
			return err
		}
		resp, err := s.client.RoundTrip(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := reads(io.LimitReader(resp.Body, int64(len("first,"))), "first,"); err != nil {
			return fmt.Errorf("what was flushed doesn't arrive: %w", err)
		}
		close(release)
		return reads(resp.Body, "second")
	})
}

func serverConcurrent(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	s, err := k.serving(serve, "tcp", echo)
	if err != nil {
		return err
	}
	return k.together("the exchange", func(ctx context.Context, i int) error {
		return s.echoes(ctx, "/"+strconv.Itoa(i), fmt.Sprintf("body %d", i))
	})
}

func serverAborts(k *kit) error {
	if k.process {
		return nil
	}
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	s, err := k.serving(serve, "tcp", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/amid":
			_, _ = io.WriteString(w, "half of a")     // the client must not take it for a whole answer
			_ = http.NewResponseController(w).Flush() // as above
			fallthrough
		case "/before":
			panic(http.ErrAbortHandler)
		}
		echo(w, r)
	})
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		for _, path := range []string{"/before", "/amid"} {
			if a, err := s.ask(ctx, http.MethodGet, path, ""); err == nil {
				return fmt.Errorf("%s: the client got a whole answer (status %d, %s) of a handler that panicked with http.ErrAbortHandler", path, a.status, short(a.body))
			}
			if err := s.echoes(ctx, "/after", "body"); err != nil {
				return fmt.Errorf("after %s: %w", path, err)
			}
		}
		return nil
	})
}

// held is a handler that waits in the middle of a request.
type held struct {
	begun, release chan struct{}
	ended          chan error
}

func hold() *held {
	return &held{begun: make(chan struct{}, concurrency), release: make(chan struct{}), ended: make(chan error, concurrency)}
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.begun <- struct{}{}
	select {
	case <-h.release:
		h.ended <- nil
		echo(w, r)
	case <-r.Context().Done():
		h.ended <- r.Context().Err()
	}
}

// wait waits for the handler to be reached.
func (h *held) wait(ctx context.Context) error {
	select {
	case <-h.begun:
		return nil
	case <-ctx.Done():
		return errors.New("the request doesn't reach the handler")
	}
}

func serverClientGone(k *kit) error {
	if k.process {
		return nil
	}
	if err := k.clientGone(http.MethodGet, ""); err != nil {
		return err
	}
	if err := k.clientGone(http.MethodPost, "body"); err != nil {
		return fmt.Errorf("when the body was read: %w", err)
	}
	return nil
}

func (k *kit) clientGone(method, body string) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	h := hold()
	s, err := k.serving(serve, "tcp", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // it is here, or the context ends
		h.ServeHTTP(w, r)
	})
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		gone, cancel := context.WithCancel(ctx)
		defer cancel()
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			_, _ = s.ask(gone, method, "/", body) // it is broken off
		}()
		defer func() { <-asked }()
		defer cancel()
		if err := h.wait(ctx); err != nil {
			return err
		}
		cancel()
		select {
		case err := <-h.ended:
			if err == nil {
				return errors.New("the handler ended by itself")
			}
			return nil
		case <-ctx.Done():
			close(h.release)
			return errors.New("the client went away, and the request's context didn't end")
		}
	})
}

// window is how long a server is watched after ctx ended: that it leaves the requests under way
// alone, and new ones unanswered, is nothing that could be waited for.
const window = 100 * time.Millisecond

func serverFinishes(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	h := hold()
	s, err := k.serving(serve, "tcp", h.ServeHTTP)
	if err != nil {
		return err
	}
	answered := make(chan error, 1)
	return k.within("the exchange", func(ctx context.Context) error {
		go func() { answered <- s.echoes(context.WithoutCancel(ctx), "/", "body") }()
		if err := h.wait(ctx); err != nil {
			return err
		}
		s.end()
		timer := time.NewTimer(window)
		defer timer.Stop()
		select {
		case err := <-s.returned:
			s.returned <- err
			close(h.release)
			return errors.New("it returned while a request was under way")
		case err := <-h.ended:
			close(h.release)
			return fmt.Errorf("the context of the request under way ended: %w", err)
		case <-timer.C:
			close(h.release)
		}
		select {
		case err := <-answered:
			return err
		case <-ctx.Done():
			return errors.New("the request under way gets no answer")
		}
	})
}

func serverRefuses(k *kit) error {
	if k.process {
		return nil
	}
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	h := hold()
	s, err := k.serving(serve, "tcp", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			h.ServeHTTP(w, r)
			return
		}
		echo(w, r)
	})
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		idle := func() error { return nil }
		if k.client == nil { // how a connection is left idle is the protocol's affair
			var err error
			if idle, err = s.leaveIdle(ctx); err != nil {
				return err
			}
		}
		answered := make(chan error, 1)
		go func() { answered <- s.echoes(context.WithoutCancel(ctx), "/held", "body") }()
		if err := h.wait(ctx); err != nil {
			return err
		}
		s.end()
		err := errors.Join(idle(), s.refuses(ctx))
		close(h.release)
		return errors.Join(err, <-answered, s.over())
	})
}

// leaveIdle leaves a connection without a request, and returns what waits for its end.
func (s *serving) leaveIdle(ctx context.Context) (ends func() error, err error) {
	conn, err := s.dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // at the latest when the check is over
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: kit.example\r\n\r\n"); err != nil {
		return nil, err
	}
	rd := bufio.NewReader(conn)
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	return func() error {
		_, err := rd.ReadByte()
		switch {
		case ctx.Err() != nil:
			return errors.New("a connection that was idle when ctx ended stays open")
		case err == nil:
			return errors.New("a connection that was idle when ctx ended is written to")
		}
		return nil
	}, nil
}

// refuses waits until nobody can connect.
func (s *serving) refuses(ctx context.Context) error {
	return eventually(s.k.patience, func() error {
		conn, err := s.dial(ctx, "", "")
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			_ = conn.Close() // it was only tried
		}
		return errors.New("it goes on accepting connections")
	})
}

func serverListeners(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	one, err := k.serving(serve, "tcp", echo)
	if err != nil {
		return err
	}
	two, err := k.serving(serve, "tcp", echo)
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error {
		if err := errors.Join(one.echoes(ctx, "/one", "1"), two.echoes(ctx, "/two", "2")); err != nil {
			return err
		}
		one.end()
		if err := one.over(); err != nil {
			return err
		}
		if err := two.echoes(ctx, "/two", "2"); err != nil {
			return fmt.Errorf("after it returned for another listener: %w", err)
		}
		return nil
	})
}

func serverAgain(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	for i := range 3 {
		s, err := k.serving(serve, "tcp", echo)
		if err != nil {
			return err
		}
		err = k.within("the exchange", func(ctx context.Context) error {
			return s.echoes(ctx, "/", "body")
		})
		s.end()
		if err = errors.Join(err, s.over()); err != nil {
			return fmt.Errorf("call %d: %w", i+1, err)
		}
	}
	return nil
}

// crowded is a listener whose Accept fails at first, as when too many files are open.
type crowded struct {
	net.Listener
	failed atomic.Bool
}

func (c *crowded) Accept() (net.Conn, error) {
	if !c.failed.Swap(true) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: c.Addr(), Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return c.Listener.Accept()
}

func serverShort(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	s, err := k.serving(func(ctx context.Context, l net.Listener, h http.Handler) error {
		return serve(ctx, &crowded{Listener: l}, h)
	}, "tcp", echo)
	if err != nil {
		return err
	}
	return k.within("the exchange", func(ctx context.Context) error { return s.echoes(ctx, "/", "body") })
}

func serverBroken(k *kit) error {
	serve, err := product[registry.ServeFunc](k)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	return k.within("ServeFunc", func(ctx context.Context) error {
		if err := serve(ctx, l, http.HandlerFunc(echo)); err == nil && ctx.Err() == nil {
			return errors.New("it returned nil for a listener that is closed, before ctx ended")
		} else if ctx.Err() != nil {
			return errors.New("it doesn't return for a listener that is closed")
		}
		return nil
	})
}
