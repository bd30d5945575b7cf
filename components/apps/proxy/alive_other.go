//go:build !unix

package proxy

import "net"

type probe struct{}

func newProbe(net.Conn) *probe { return nil }

// alive can't look without waiting here: a connection that the upstream has closed is found out by using it.
func (*probe) alive() bool { return true }
