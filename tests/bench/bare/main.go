// Command bare is what stackd is measured against: net/http with a handler that knows its only answer before it
// is asked.
//
//	bare ADDRESS URL [HEADROOM]
//
// It fetches the URL once and from then on answers every request at ADDRESS with that header and body: over HTTP at an
// address such as 127.0.0.1:8080, or with net/http/fcgi at a unix socket such as fastcgi:/run/bare.sock, to which
// everybody may connect. HEADROOM is how many bytes it allocates and never touches, so that garbage is collected less often; stackd does so too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		panic(err)
	}
}

// run serves until it is killed.
func run(args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("usage: bare ADDRESS URL [HEADROOM]")
	}
	headroom := 0
	if len(args) == 3 {
		var err error
		if headroom, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	defer runtime.KeepAlive(make([]byte, headroom))
	answer, err := fetch(context.Background(), args[1])
	if err != nil {
		return err
	}
	if socket, ok := strings.CutPrefix(args[0], "fastcgi:"); ok {
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		if err := os.Chmod(socket, 0o666); err != nil {
			return err
		}
		return fcgi.Serve(l, answer)
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return http.Serve(l, answer) //nolint:gosec // without limits: they cost time, and this is the measure
}

// answer is the one response.
type answer struct {
	header http.Header
	body   []byte
}

func fetch(ctx context.Context, url string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the status is %s; it must be 200", url, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Header.Del("Date") // net/http adds today's
	return &answer{resp.Header, body}, err
}

func (a *answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	maps.Copy(w.Header(), a.header)
	w.Write(a.body)
}
