package cgi

import (
	"net/http"
	"slices"

	"github.com/stackd/stackd/registry/gateway"
)

// environment returns the environment of the script for r, whose body is so long.
func (s *script) environment(r *http.Request, length int64) []string {
	env := slices.Clip(s.env)
	v := gateway.Variables{Root: s.file.Root, Authorization: s.factory.cfg.Authorization}
	v.Each(r, length, func(name, value string) { env = append(env, name+"="+value) })
	return env
}
