// Package webhook posts incidents to a URL as JSON.
//
//	stack:
//	  - use: errors
//	    reporters:
//	      - log
//	      - use: webhook
//	        url: https://alerts.example.org/stackd
//	        secret: ${env:WEBHOOK_SECRET}
//
// Each incident is one POST, such as:
//
//	{
//	  "type": "incident",
//	  "timestamp": "2026-01-31T09:45:05Z",
//	  "data": {
//	    "id": "k7mq2w9xyz", "status": 500,
//	    "error": "no such table", "error_type": "*db.Error",
//	    "method": "GET", "host": "example.org", "url": "/shop?id=[redacted]",
//	    "remote_addr": "192.0.2.1:4711",
//	    "route": "/shop", "panic": false,
//	    "stack": [{"function": "shop.List", "file": "shop.go", "line": 12}],
//	    "details": [{"title": "Standard error", "text": "…"}]
//	  }
//	}
//
// The status is 0 where the connection was cut. A detail longer than 4 KiB is cut to its end.
//
// # Signature
//
// With a secret, requests are signed as the Standard Webhooks specification has it, for which there are
// libraries in many languages. The field webhook-signature is "v1," and the base64 form of the
// HMAC-SHA256 of webhook-id, a dot, webhook-timestamp (seconds since 1970), a dot, and the body.
// Whoever receives it should check that, and that the time isn't long ago. A secret that
// begins with whsec_ is the base64 form of the key; another one is the key itself.
//
// # What a request waits for, and retries
//
// A visitor's request waits for nothing: a goroutine beside posts one incident after the other. An
// answer of 2xx ends the matter. After no answer, or one of 408, 425, 429 or 5xx, it
// tries again, attempts times in all. It waits for backoff before the second attempt, then for twice as
// long each time, a minute at most; or as long as the answer's Retry-After says, a minute at most too.
// Any other answer, a redirect included, is final. What couldn't be posted is logged, without the URL,
// which may be a secret itself. The webhook-id is the same for each attempt.
//
// Up to queue incidents wait; one more isn't posted, and the catcher's log says so. When stackd ends or the
// settings change, what waits is tried once more within five seconds.
package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the webhook reporter.
var Component = registry.Reporter[Config]{
	Name: "webhook",
	Default: Config{
		Timeout:  10 * time.Second,
		Attempts: 6,
		Backoff:  time.Second,
		Queue:    100,
		Stack:    20,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says where incidents are posted.
type Config struct {
	// URL is where incidents are posted, with http:// or https://. It is never printed, since
	// many services put a key into it.
	URL registry.Secret `yaml:"url" validate:"required"`
	// Secret signs the requests. Empty means that they aren't signed.
	Secret registry.Secret `yaml:"secret"`
	// Headers are sent along, such as Authorization.
	Headers map[string]registry.Secret `yaml:"headers"`
	// Timeout is how long one attempt may take.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms,max=1m"`
	// Attempts is how often an incident is tried in all.
	Attempts int `yaml:"attempts" validate:"min=1,max=20"`
	// Backoff is the wait before the second attempt. It doubles with each one, up to a
	// minute.
	Backoff time.Duration `yaml:"backoff" validate:"min=1ms,max=1m"`
	// Queue is how many incidents may wait.
	Queue int `yaml:"queue" validate:"min=1,max=10000"`
	// Stack is how many places of the stack are sent, the innermost first; 0 for none.
	Stack int `yaml:"stack" validate:"min=0,max=64"`
}

// Expects says that the service must answer. Which one it is may be secret.
func (c Config) Expects() []expect.Expectation {
	origin := expect.Origin("url", c.URL.Reveal())
	return []expect.Expectation{{Setting: origin.Setting, Look: func(ctx context.Context) error {
		if err := origin.Look(ctx); err != nil {
			return errors.New("the server that it names does not answer")
		}
		return nil
	}}}
}

// Validate checks the URL, the secret and the headers.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: problem})
	}
	if u, err := url.Parse(c.URL.Reveal()); !c.URL.IsZero() && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		wrong("url", "isn't a URL; it must be like https://example.org/hook")
	}
	if _, err := keyOf(c.Secret); err != nil {
		wrong("secret", "begins with "+encoded+", and what follows isn't base64; it must be")
	}
	for name, value := range c.Headers {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			wrong("headers["+name+"]", "isn't the name of a header field; it must be letters, digits and hyphens")
		case !httpguts.ValidHeaderFieldValue(value.Reveal()):
			wrong("headers["+name+"]", "has a control character; it must have none")
		}
	}
	return errors.Join(errs...)
}

// encoded begins a secret that is written in base64.
const encoded = "whsec_"

// keyOf returns the key of the signatures.
func keyOf(s registry.Secret) ([]byte, error) {
	if text, ok := strings.CutPrefix(s.Reveal(), encoded); ok {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(s.Reveal()), nil
}

func build(env *registry.Env, cfg Config) (failure.Reporter, error) {
	key, err := keyOf(cfg.Secret)
	if err != nil {
		return nil, err
	}
	s := newSender(cfg, key, env.Logger())
	env.OnClose(func() error {
		s.client.CloseIdleConnections()
		return nil
	})
	queue := make(failure.Queue, cfg.Queue)
	env.Go(func(ctx context.Context) { s.run(ctx, queue) })
	return queue, nil
}
