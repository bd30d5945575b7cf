package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Client speaks with the stackd that listens on a socket. It is safe for concurrent use.
type Client struct {
	socket  string
	http    *http.Client
	silence time.Duration // after which who says not even how it is hangs
}

// silenceTimeout is more than a stackd takes to ask workers that hang themselves.
const silenceTimeout = 15 * time.Second

// New returns a client for the socket at that path. Nothing is opened before the first call, and no connection is kept
// after one.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, silenceTimeout}
}

// Socket returns the path of the socket.
func (c *Client) Socket() string { return c.socket }

// Status returns what stackd is doing. It is an error if it doesn't say so in 15 s.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.silence,
		fmt.Errorf("control socket %q: no answer in %s; the process that listens there hangs, or is stopped", c.socket, c.silence))
	defer cancel()
	var s Status
	return s, c.call(ctx, http.MethodGet, "status", &s)
}

// Reload puts the stack that the files on disk describe in the place of the current one, and returns when it
// serves. The error is a [*Refusal] if the current one serves on.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	var r Reload
	return r, c.call(ctx, http.MethodPost, "reload", &r)
}

// Rollback is Reload with the files as they were when a generation that is kept was made; 0 is the one before
// that of the current files. The files on disk stay as they are, and their next change takes over again.
func (c *Client) Rollback(ctx context.Context, to uint64) (Reload, error) {
	path := "rollback"
	if to > 0 {
		path += "?" + url.Values{"to": {strconv.FormatUint(to, 10)}}.Encode()
	}
	var r Reload
	return r, c.call(ctx, http.MethodPost, path, &r)
}

// Stop stops stackd, and returns when the requests that were under way have ended, its addresses are free, and the process has
// ended.
func (c *Client) Stop(ctx context.Context) (Stopped, error) {
	var s Stopped
	return s, c.call(ctx, http.MethodPost, "stop", &s)
}

// Upgrade has a new process of the program that is installed now take over, and returns when it serves. The error is a
// [*Refusal] if the old one serves on. When ctx ends first, the upgrade is given up.
func (c *Client) Upgrade(ctx context.Context) (Upgraded, error) {
	var u Upgraded
	return u, c.call(ctx, http.MethodPost, "upgrade", &u)
}

// unreachable says why nobody was asked, or has answered.
func (c *Client) unreachable(err error) error {
	why := ""
	switch {
	case errors.Is(err, syscall.ENOENT):
		why = "there is none, so no stackd that would listen there runs"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody listens there; a stackd that was killed has left it"
	case errors.Is(err, syscall.EACCES):
		why = "only the user who has started stackd, and root, may use it"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		why = "the process that listened there ended before it answered"
	}
	if why == "" {
		return fmt.Errorf("control socket %q: %w", c.socket, err)
	}
	return fmt.Errorf("control socket %q: %s: %w", c.socket, why, bare(err))
}

// bare returns what the system said of a socket, without what was tried.
func bare(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// maxAnswer bounds what a client reads: a stack of 10,000 overrides has some hundred bytes for each.
const maxAnswer = 64 << 20

func (c *Client) call(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://stackd/v1/"+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return c.unreachable(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("control socket %q: %w", c.socket, err)
	}
	switch {
	case response.StatusCode == http.StatusOK:
	case response.Header.Get("Content-Type") == "application/json":
		refusal := new(Refusal)
		if err := json.Unmarshal(body, refusal); err == nil {
			return refusal
		}
		fallthrough
	default:
		return fmt.Errorf("control socket %q: %s: %.200s", c.socket, response.Status, strings.TrimSpace(string(body)))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("control socket %q: it does not speak as stackd does: %w", c.socket, err)
	}
	return nil
}
