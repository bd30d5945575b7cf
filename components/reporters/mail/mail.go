// Package mail sends incidents by mail, without flooding anybody.
//
//	stack:
//	  - use: errors
//	    reporters:
//	      - log
//	      - use: mail
//	        server: smtp.example.org:587
//	        username: stackd
//	        password: "${env:SMTP_PASSWORD}"
//	        from: stackd@example.org
//	        to: [admin@example.org]
//
// # The first at once, then a digest
//
// Incidents are grouped by where they happened and what they say, numbers apart. The first of a group is
// mailed at once. What follows is counted, and told every digest in one mail for all groups: how
// often each came, since when, and the latest one. A group of which nothing came for quiet is forgotten,
// so that its next incident is news again. No more than at_once mails are sent outside of the
// digests between two of them, whatever happens.
//
// Of groups, 200 are kept apart, and what belongs to none of them is counted together.
//
// # What a request waits for
//
// Nothing: it only counts. A goroutine beside sends the mails. While the server takes none, the log says
// so, the incidents go on being counted, and it is tried again every minute with what has come together.
// When stackd ends or the settings change, what wasn't told yet is sent within five seconds, or
// logged.
//
// Mails are plain text and hold what a report has: the error, the request without its secrets, where
// it happened, and the end of what a script wrote to its standard error.
package mail

import (
	"errors"
	"net/mail"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the mail reporter.
var Component = registry.Reporter[Config]{
	Name: "mail",
	Default: Config{
		Server:  "localhost:25",
		TLS:     tlsStart,
		Timeout: 30 * time.Second,
		Digest:  15 * time.Minute,
		Quiet:   24 * time.Hour,
		AtOnce:  10,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// The values of the setting tls.
const (
	tlsStart    = "starttls"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// Config says who is told, and how often.
type Config struct {
	// Server is the SMTP server, as host:port. The port for programs that log in is mostly 587, or 465
	// with tls: implicit.
	Server registry.Address `yaml:"server" validate:"required"`
	// TLS is how the connection is encrypted: starttls, which must succeed, implicit from its first
	// byte on, or none, which is for a server on this machine. The server's certificate must be valid.
	TLS string `yaml:"tls" validate:"oneof=starttls implicit none"`
	// Username is who to log in as. Empty means that nobody logs in.
	Username string `yaml:"username"`
	// Password is the user's.
	Password registry.Secret `yaml:"password"`
	// From is the sender's address, such as "stackd@example.org" or "Our site <stackd@example.org>".
	From string `yaml:"from" validate:"required"`
	// To are the addresses of those who are told.
	To []string `yaml:"to" validate:"required,min=1,unique"`
	// Timeout is how long the sending of a mail may take.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms,max=5m"`
	// Digest is how often those are told of whom it is known already that they come.
	Digest time.Duration `yaml:"digest" validate:"min=1ms"`
	// Quiet is how long an incident must not have come to be news when it comes again.
	Quiet time.Duration `yaml:"quiet" validate:"min=0s"`
	// AtOnce is how many mails are sent at once between two digests. With 0, all wait for the
	// digest.
	AtOnce int `yaml:"at_once" validate:"min=0,max=1000"`
}

// Validate checks the addresses, and that no password goes out in the clear.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: problem})
	}
	const want = "isn't an address; it must be like admin@example.org"
	if _, err := mail.ParseAddress(c.From); c.From != "" && err != nil {
		wrong("from", want)
	}
	for _, to := range c.To {
		if _, err := mail.ParseAddress(to); err != nil {
			wrong("to", "has an entry that "+want)
		}
	}
	if network, _ := c.Server.Network(); network == "unix" {
		wrong("server", "is a unix socket; it must be host:port")
	}
	if c.TLS == tlsNone && c.Username != "" {
		wrong("tls", "is none, so that the password could be read on its way; it must be starttls or implicit where somebody logs in")
	}
	return errors.Join(errs...)
}

// Warnings says where the password goes over a network as it is.
func (c Config) Warnings(registry.Site) []registry.Warning {
	if c.TLS != tlsNone || c.Username == "" || !c.Server.Public() {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Clear, Setting: "tls",
		Problem: "is none, and the password goes to " + string(c.Server) + " as it is; it should be starttls or implicit",
	}}
}

// Expects says that the server must answer.
func (c Config) Expects() []expect.Expectation {
	network, address := c.Server.Network()
	return []expect.Expectation{expect.Answers("server", network, address)}
}

func build(env *registry.Env, cfg Config) (failure.Reporter, error) {
	p, err := newPostman(cfg)
	if err != nil {
		return nil, err
	}
	l := newLedger()
	d := &dispatcher{ledger: l, send: p.send, cfg: cfg, log: env.Logger()}
	env.Go(d.run)
	return l, nil
}
