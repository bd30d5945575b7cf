package cmd

import (
	"os"
	"syscall"
)

// restart is asked by a component that nothing else helps. It says so once: what is true then stays true.
func (l *loader) restart(reason string) {
	l.hopeless.Do(func() {
		if l.assigned {
			l.log.Warn("the worker must be restarted, and is replaced", "reason", reason)
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
				l.log.Error("ending a worker", "err", err)
			}
			return
		}
		l.log.Error("the process must be restarted; nothing else helps, and nobody is there who does it", "reason", reason)
	})
}
