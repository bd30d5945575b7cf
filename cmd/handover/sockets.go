package handover

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/serve"
)

// Sockets are listening sockets that another process has opened for this one. A server gets the one that fits it, and
// keeps it: when a later generation has a server at the same address again, it gets the same. They
// are safe for concurrent use.
type Sockets struct {
	mu  sync.Mutex
	all []*socket
}

// socket is one of them.
type socket struct {
	name    string      // what the service manager calls it, or ""
	address string      // the address that it is for, "" as long as no server has asked for it
	file    *os.File    // nil when it was given away
	bound   net.Addr    // nil if it has no address of a kind that servers have
	ours    func() bool // as of [serve.Inherited]
}

// Add takes a socket that belongs to somebody else, such as the service manager. Name is what it is called there.
func (s *Sockets) Add(name string, file *os.File) {
	s.add(&socket{name: name, file: file, bound: boundTo(file)})
}

func (s *Sockets) add(one *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, one)
}

// Has reports whether there is a socket that was for that address in the process before.
func (s *Sockets) Has(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(one *socket) bool { return one.address == address })
}

// nameOf returns what a service manager calls the socket of an address.
func (s *Sockets) nameOf(address string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.address == address {
			return one.name
		}
	}
	return ""
}

// spare returns those of somebody else that aren't among the sockets in use, with descriptors of their own.
func (s *Sockets) spare(used []serve.Handed) ([]*socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*socket
	for _, one := range s.all {
		if one.file == nil || one.ours != nil || slices.ContainsFunc(used, func(u serve.Handed) bool { return u.Address == one.address }) {
			continue
		}
		file, err := duplicate(one.file)
		if err != nil {
			for _, opened := range all {
				_ = opened.file.Close() // nothing was written to it
			}
			return nil, err
		}
		all = append(all, &socket{name: one.name, address: one.address, file: file})
	}
	return all, nil
}

// Drop closes the sockets that the process before had and no server of this one has asked for, and removes their files.
func (s *Sockets) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.file == nil || one.ours == nil || !one.ours() {
			continue
		}
		if path, ok := strings.CutPrefix(one.address, "unix:"); ok {
			_ = os.Remove(path) // it may be gone already
		}
		_ = one.file.Close() // nothing was written to it
		one.file = nil
	}
}

// Inherit finds the socket for a server, as [serve.Options] wants it. In this order it is the one
//
//   - that was for the same address before;
//   - that is bound to the server's address, and has the name of its slot;
//   - that is bound to the server's address;
//   - that has the name of the server's slot, whatever it is bound to.
//
// The address :8080 is bound to port 8080 of all addresses. Port 0 is bound to nothing, and found by the name only. No
// socket is for two addresses.
func (s *Sockets) Inherit(ctx context.Context, server serve.Server) (serve.Inherited, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(ctx, server)
	if found == nil {
		return serve.Inherited{}, nil
	}
	found.address = server.Address
	file := found.file
	if found.ours == nil {
		var err error
		if file, err = duplicate(file); err != nil { // and it stays here for the next time
			return serve.Inherited{}, err
		}
	} else {
		found.file = nil
	}
	return serve.Inherited{File: file, Ours: found.ours}, nil
}

// find returns the socket for a server, or nil. The caller holds mu.
func (s *Sockets) find(ctx context.Context, server serve.Server) *socket {
	var best *socket
	most := 0
	var places []netip.AddrPort // of the server's address, once somebody wants to know
	for _, candidate := range s.all {
		if candidate.file == nil || candidate.address != "" && candidate.address != server.Address {
			continue
		}
		fits := 0
		if candidate.address == server.Address {
			fits += 4 // more than all that follows
		}
		if _, tcp := candidate.bound.(*net.TCPAddr); tcp && places == nil {
			places = resolve(ctx, server.Address)
		}
		if at(candidate.bound, server.Address, places) {
			fits += 2
		}
		if candidate.name != "" && candidate.name == server.Slot {
			fits++
		}
		if fits > most {
			best, most = candidate, fits
		}
	}
	return best
}

// Unclaimed describes the sockets that no server has asked for.
func (s *Sockets) Unclaimed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, one := range s.all {
		if one.address != "" || one.file == nil {
			continue
		}
		text := "not a socket that servers listen on"
		if one.bound != nil {
			text = one.bound.String()
			if one.bound.Network() == "unix" {
				text = "unix:" + text
			}
		}
		if one.name != "" {
			text = fmt.Sprintf("%s (%q)", text, one.name)
		}
		all = append(all, text)
	}
	return all
}

// Close closes those that are left.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.file != nil {
			_ = one.file.Close() // nothing was written to it
			one.file = nil
		}
	}
}

// boundTo returns where a descriptor is bound, if that is an address that servers have.
func boundTo(f *os.File) net.Addr {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var name unix.Sockaddr
	if err := raw.Control(func(fd uintptr) {
		if kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); err == nil && kind == unix.SOCK_STREAM {
			name, _ = unix.Getsockname(int(fd)) // nil with an error
		}
	}); err != nil {
		return nil
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)))
	case *unix.SockaddrInet6:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)))
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: name.Name, Net: "unix"}
	}
	return nil
}

// at reports whether what is bound there is bound to a server's address, whose TCP addresses were resolved.
func at(bound net.Addr, address string, places []netip.AddrPort) bool {
	switch bound := bound.(type) {
	case *net.UnixAddr:
		path, ok := strings.CutPrefix(address, "unix:")
		return ok && samePath(path, bound.Name)
	case *net.TCPAddr:
		there := bound.AddrPort()
		return slices.Contains(places, netip.AddrPortFrom(there.Addr().Unmap().WithZone(""), there.Port()))
	}
	return false
}

// samePath reports whether two paths lead to the same file.
func samePath(one, other string) bool {
	if filepath.Clean(one) == filepath.Clean(other) {
		return true
	}
	a, errA := os.Lstat(one)
	b, errB := os.Lstat(other)
	return errA == nil && errB == nil && a.Mode().Type() == fs.ModeSocket && os.SameFile(a, b)
}

// resolve returns where a server of a TCP address may be bound: nowhere for port 0.
func resolve(ctx context.Context, address string) []netip.AddrPort {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil
	}
	if host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n))}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(n))}
	}
	all, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // listening there will say what is wrong
	places := make([]netip.AddrPort, len(all))
	for i, ip := range all {
		places[i] = netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(n))
	}
	return places
}

// duplicate returns another descriptor of the same file, without a change of what they share.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
