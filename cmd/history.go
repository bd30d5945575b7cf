package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stackd/stackd/stackfile"
)

// What is kept of stack files that have served.
const (
	maxKept      = 10
	maxKeptBytes = 16 << 20
)

// kept are the files of a generation that has served.
type kept struct {
	generation uint64 // the first one that was made of them
	files      *stackfile.Files
}

// history has the stack files that have served, the oldest first. The zero value is empty.
type history struct {
	mu  sync.Mutex
	all []*kept
	now *kept // what the current generation was made of
}

// served notes that a generation was made of files and serves. From is what it went back to; nil for the files on disk.
func (h *history) served(generation uint64, files *stackfile.Files, from *kept) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from != nil {
		h.now = from
		return
	}
	if h.now != nil && h.now == h.all[len(h.all)-1] && h.now.files.Hash() == files.Hash() {
		h.now.files = files
		return
	}
	h.now = &kept{generation, files}
	h.all = append(h.all, h.now)
	size := 0
	for _, k := range h.all {
		size += k.files.Size()
	}
	for len(h.all) > 1 && (len(h.all) > maxKept || size > maxKeptBytes) {
		size -= h.all[0].files.Size()
		h.all = slices.Delete(h.all, 0, 1)
	}
}

// current returns what the current generation was made of; nil for none.
func (h *history) current() *kept {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// numbers returns the generations that can be gone back to.
func (h *history) numbers() []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	numbers := make([]uint64, len(h.all))
	for i, k := range h.all {
		numbers[i] = k.generation
	}
	return numbers
}

// find returns what was kept of a generation; for 0, of that before the current one.
func (h *history) find(generation uint64) (*kept, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.all, h.now)
	if generation == 0 && i > 0 {
		return h.all[i-1], nil
	}
	var numbers, others []string
	for _, k := range h.all {
		if k.generation == generation {
			return k, nil
		}
		numbers = append(numbers, fmt.Sprint(k.generation))
		if k != h.now {
			others = append(others, fmt.Sprint(k.generation))
		}
	}
	switch {
	case generation == 0 && len(others) == 0:
		return nil, errors.New("no stack file is kept but the one that serves")
	case generation == 0:
		return nil, fmt.Errorf("no stack file is kept from before the one that serves; name a generation of those after it to go back there: %s",
			strings.Join(others, ", "))
	}
	return nil, fmt.Errorf("the stack file of generation %d is not kept; there is that of %s", generation, strings.Join(numbers, ", "))
}
