package session

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Many requests of one visitor at a time, each with a key of its own: none is lost.
func TestConcurrentKeys(t *testing.T) {
	const requests = 100
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		for name, open := range stores {
			t.Run(name, func(t *testing.T) {
				// All have read the session before the first one stores it.
				var read sync.WaitGroup
				read.Add(requests)
				v := start(settings(open(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if script, together := strings.CutPrefix(r.URL.String(), "/together/"); together {
						scripted(w, r, script, func() { read.Done(); read.Wait() })
						return
					}
					pad(w, r)
				})).visitor(t)
				v.get("/set?begun=1")
				var wg sync.WaitGroup
				for i := range requests {
					wg.Go(func() {
						if a := v.get(fmt.Sprintf("/together/set?k%03d=1", i)); a.body != "ok" {
							t.Errorf("request %d: %s", i, a.body)
						}
					})
				}
				wg.Wait()
				if got := strings.Split(v.get("/keys").body, ","); len(got) != requests+1 {
					t.Errorf("%d keys are left of %d: %v", len(got), requests+1, got)
				}
			})
		}
	})
}

// What one request does while another one, that has read the session already, is still at it.
func TestMeanwhile(t *testing.T) {
	tests := []struct {
		name      string
		slow      string // reads first, and is stored last
		meanwhile string
		status    int    // of the slow one
		keys      string // what the visitor has in the end
	}{
		{"other keys", "set?a=slow", "set?b=quick", 200, "a,b,x"},
		{"the same key", "set?a=slow", "set?a=quick", 200, "a,x"},
		{"one deletes", "delete?x", "set?b=quick", 200, "b"},
		{"the other deletes", "set?a=slow", "delete?x", 200, "a"},
		{"one gets a new id", "set?a=slow;renew", "set?b=quick", 200, "a,b,x"},
		{"the other gets a new id", "set?a=slow", "set?b=quick;renew", 409, "b,x"},
		{"both get new ids", "set?a=slow;renew", "renew", 409, "x"},
		{"the other ends it", "set?a=slow", "destroy", 409, ""},
		{"both end it", "destroy", "destroy", 200, ""},
		{"one ends it", "destroy", "set?b=quick", 200, ""},
		{"the other ends it, one only reads", "get?x", "destroy", 200, ""},
	}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				reading, goOn := make(chan struct{}), make(chan struct{})
				s := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					script, slow := strings.CutPrefix(r.URL.String(), "/slow/")
					if !slow {
						pad(w, r)
						return
					}
					scripted(w, r, script, func() { close(reading); <-goOn })
				}))
				v := s.visitor(t)
				v.get("/set?x=1")
				answers := make(chan answer)
				go func() { answers <- v.get("/slow/" + tt.slow) }()
				<-reading
				quick := s.visitor(t)
				quick.Jar = v.Jar
				if a := quick.get("/" + tt.meanwhile); a.body != "ok" {
					t.Errorf("meanwhile: %s", a.body)
				}
				close(goOn)
				a := <-answers
				if a.StatusCode != tt.status {
					t.Errorf("the slow one is answered %s %q, want %d", a.Status, a.body, tt.status)
				}
				if what, _ := a.cookie(); tt.status == 409 && what != "" {
					t.Errorf("the slow one brings a cookie that is %s", what)
				}
				if got := v.get("/keys").body; got != tt.keys {
					t.Errorf("in the end it has %q, want %q", got, tt.keys)
				}
			})
		}
	})
}

// Who waits for another request to store the session waits no longer than its own request lasts.
func TestWaitEnds(t *testing.T) {
	store := &tap{Store: memoryStore(t)}
	k := newKeeper(settings(store), nil)
	unlock, err := k.lock(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := k.lock(ctx, "id")
		waited <- err
	}()
	cancel()
	if err := <-waited; err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("the wait ended with %v", err)
	}
	unlock()
	again, err := k.lock(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	again()
}
