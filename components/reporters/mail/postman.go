package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// postman takes mails to the server, with a connection for each.
type postman struct {
	cfg   Config
	host  string
	port  int
	roots *x509.CertPool // nil for the system's
}

func newPostman(cfg Config) (*postman, error) {
	_, address := cfg.Server.Network()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p := &postman{cfg: cfg, host: host}
	if p.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *postman) send(ctx context.Context, subject, body string) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	msg := mail.NewMsg()
	if err := msg.From(p.cfg.From); err != nil {
		return err
	}
	if err := msg.To(p.cfg.To...); err != nil {
		return err
	}
	msg.Subject(subject)
	msg.SetMessageID()
	msg.SetDateWithValue(time.Now())
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday notices, please
	msg.SetBodyString(mail.TypeTextPlain, body)

	secure := &tls.Config{ServerName: p.host, RootCAs: p.roots, MinVersion: tls.VersionTLS12}
	policy := mail.TLSMandatory
	switch p.cfg.TLS {
	case tlsImplicit:
		policy = mail.TLSOpportunistic // it looks whether the connection is encrypted, and it is
	case tlsNone:
		policy = mail.NoTLS
	}
	// The client keeps a connection open that fails early, and doesn't look at ctx once it stands.
	whole := ctx
	var opened net.Conn
	stop := func() bool { return true }
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		opened = conn
		stop = context.AfterFunc(whole, func() { _ = conn.Close() })
		if p.cfg.TLS == tlsImplicit {
			return tls.Client(conn, secure), nil
		}
		return conn, nil
	}
	options := []mail.Option{
		mail.WithPort(p.port), mail.WithTimeout(p.cfg.Timeout), mail.WithTLSPolicy(policy), mail.WithTLSConfig(secure), mail.WithDialContextFunc(dial),
	}
	if p.cfg.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(p.cfg.Username), mail.WithPassword(p.cfg.Password.Reveal()))
	}
	client, err := mail.NewClient(p.host, options...)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		if opened != nil {
			_ = opened.Close() // closed already, when all went well
		}
	}()
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}
