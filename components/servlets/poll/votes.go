package poll

import (
	"bytes"
	"io"
	"maps"
	"math"
	"os"
	"sync"
)

// votes are the lines of a file that is open for appending. Others may append to it, too.
type votes struct {
	file *os.File

	mu     sync.Mutex
	read   int64 // up to where the lines are counted
	counts map[string]int
}

// add appends a line. The system puts it behind all others, whoever writes at the same time.
func (v *votes) add(choice string) error {
	_, err := v.file.WriteString(choice + "\n")
	return err
}

// count counts what was appended since the last time, and returns a copy of all.
func (v *votes) count() (map[string]int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := v.file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < v.read || v.counts == nil { // somebody emptied it
		v.read, v.counts = 0, make(map[string]int)
	}
	lines, err := io.ReadAll(io.NewSectionReader(v.file, v.read, math.MaxInt64-v.read))
	if err != nil {
		return nil, err
	}
	lines = lines[:bytes.LastIndexByte(lines, '\n')+1] // the last one may be on its way
	v.read += int64(len(lines))
	for line := range bytes.Lines(lines) {
		v.counts[string(bytes.TrimRight(line, "\r\n"))]++
	}
	return maps.Clone(v.counts), nil
}
