package cmd

// restart is asked by a component that nothing else helps. It says so once: what is true then stays true.
func (l *loader) restart(reason string) {
	l.hopeless.Do(func() {
		l.log.Error("the process must be restarted; nothing else helps, and nobody is there who does it", "reason", reason)
	})
}
