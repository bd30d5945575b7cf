package cmd

import (
	"fmt"
	"log/slog"

	"github.com/stackd/stackd/cmd/handover"
	"github.com/stackd/stackd/cmd/systemd"
)

// service is what this process has from whoever started it.
type service struct {
	sockets handover.Sockets
}

// serviceOf takes it from the environment.
func serviceOf() (*service, error) {
	s := &service{}
	sockets, err := systemd.Sockets()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	for _, one := range sockets {
		s.sockets.Add(one.Name, one.File)
	}
	return s, nil
}

// unclaimed warns of the sockets that no server listens on.
func (s *service) unclaimed(log *slog.Logger) {
	for _, one := range s.sockets.Unclaimed() {
		log.Warn("a socket was handed in that no server listens on; connections to it hang", slog.String("socket", one))
	}
}
