package environ

import (
	"net/http"
	"testing"
)

func TestFork(t *testing.T) {
	for name, newRequest := range servers {
		t.Run(name, func(t *testing.T) {
			var base Base
			textKey.Preset(&base, "preset")
			r := base.Open(newRequest(t))
			numberKey.Set(r, 1)
			fork, join := Fork(r)
			if fork == r || textKey.Get(fork) != "preset" || numberKey.Get(fork) != 1 || fork.Context().Value(outsideKey{}) != "kept" {
				t.Errorf("the fork has %q, %d and %v", textKey.Get(fork), numberKey.Get(fork), fork.Context().Value(outsideKey{}))
			}

			done := make(chan struct{})
			go func() { // the race detector watches
				defer close(done)
				textKey.Set(fork, "of the fork")
				anyKey.Set(fork, 2)
			}()
			numberKey.Set(r, 3)
			<-done
			if textKey.Get(r) != "preset" || anyKey.Get(r) != nil || numberKey.Get(fork) != 1 {
				t.Errorf("one side sees what the other has set: %q, %v, %d", textKey.Get(r), anyKey.Get(r), numberKey.Get(fork))
			}
			join()
			if textKey.Get(r) != "of the fork" || anyKey.Get(r) != 2 || numberKey.Get(r) != 1 {
				t.Errorf("joined, it has %q, %v and %d; want the fork's", textKey.Get(r), anyKey.Get(r), numberKey.Get(r))
			}
		})
	}
	t.Run("no environ", func(t *testing.T) {
		for name, newRequest := range servers {
			r := newRequest(t)
			fork, join := Fork(r)
			join()
			if _, ok := textKey.Lookup(fork); ok || fork == r || fork.Method != http.MethodGet {
				t.Errorf("%s: the fork is %v", name, fork)
			}
		}
	})
}
