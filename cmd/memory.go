package cmd

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
)

// loading is how much memory a load takes, beside what the process has before, until the garbage collector runs more often
// than when the heap has doubled. What a load keeps alive is less, whatever is in the file; with the program itself it stays
// well below 256 MiB.
const loading = 176 << 20

// limited has the garbage collector keep to that until the function is called that it returns. A limit that is set already
// stays: that of GOMEMLIMIT, for one.
func limited() (end func()) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	debug.SetMemoryLimit(int64(samples[0].Value.Uint64()-samples[1].Value.Uint64()) + loading)
	return func() { debug.SetMemoryLimit(math.MaxInt64) }
}
