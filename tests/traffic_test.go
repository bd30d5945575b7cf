package tests

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// traffic is clients that ask on and on until they are ended.
type traffic struct {
	stop     chan struct{}
	answered chan struct{} // has a value for an answer, if somebody waits
	clients  sync.WaitGroup
	end      func() (asked int, failed []error) // may be called twice

	mu     sync.Mutex
	asked  int
	failed []error
}

// newTraffic asks with so many clients that keep their connections, and so many that open one for each request. The
// answers must be that text.
func newTraffic(t testing.TB, url, answer string, keeping, opening int) *traffic {
	l := &traffic{stop: make(chan struct{}), answered: make(chan struct{})}
	l.end = sync.OnceValues(func() (int, []error) {
		close(l.stop)
		l.clients.Wait()
		return l.asked, l.failed
	})
	t.Cleanup(func() { l.end() })
	for i := range keeping + opening {
		l.clients.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i >= keeping}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: patience}
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if l.add(ask(client, url, answer)) {
					select {
					case l.answered <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	return l
}

// add counts a request, and returns whether it was answered.
func (l *traffic) add(err error) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if err != nil {
		l.failed = append(l.failed, err)
	}
	return err == nil
}

// more waits until so many more were answered.
func (l *traffic) more(t testing.TB, n int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for range n {
		select {
		case <-l.answered:
		case <-limit.C:
			asked, failed := l.end()
			t.Fatalf("the clients don't go on; %d of %d requests have failed: %v", len(failed), asked, failed[:min(len(failed), 5)])
		}
	}
}

// good ends the clients. None of their requests may have failed.
func (l *traffic) good(t testing.TB) {
	t.Helper()
	asked, failed := l.end()
	if len(failed) > 0 {
		t.Errorf("%d of %d requests have failed: %v", len(failed), asked, failed[:min(len(failed), 5)])
	}
	t.Logf("%d requests", asked)
}

// ask sends a request, and checks that it is answered well.
func ask(client *http.Client, url, answer string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(body) != answer) {
		err = fmt.Errorf("the answer is %s: %.200q", response.Status, body)
	}
	return err
}
