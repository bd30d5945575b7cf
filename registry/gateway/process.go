package gateway

import "net"

// Process is a connection that is the standard input and output of this very process, which a web server has started for
// one request. The runtime gives it to servers that have no setting listen.
type Process interface {
	net.Conn
	// Environ returns the process's environment, as [os.Environ] does. The variables of the request are in it.
	Environ() []string
}
