package registrytest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

const reporterContract = "package failure, Reporter"

var reporterRules = []rule{
	{name: "report", text: "an incident is reported without an error, however much of it is known", where: reporterContract, check: reporterReports},
	{name: "concurrent", text: "Report is called from many requests at a time", where: reporterContract, check: reporterConcurrent},
	{name: "incident kept", text: "an incident is shared by all reporters: it is never changed", where: reporterContract, check: reporterKeeps},
	{name: "context", text: "Report doesn't hold up a request whose context has ended", where: reporterContract, check: reporterContext},
}

// cause is what went wrong in the incidents.
var cause = failure.WithStatus(fmt.Errorf("the page: %w", errors.New("it can't be made")), http.StatusBadGateway)

// incident makes an incident, the same each time.
func incident() *failure.Incident {
	return &failure.Incident{
		ID:   "k7mq2",
		Time: time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC),
		Failure: failure.Failure{
			Err: cause,
			Stack: []failure.Frame{
				{Function: `template "main"`, File: "/site/page.html", Line: 3, Column: 5, Source: []string{"{{", ".X", "}}"}, First: 2},
				{Function: "example.org/app.serve", File: "/src/app.go", Line: 42},
			},
		},
		Status:     http.StatusBadGateway,
		Method:     http.MethodPost,
		URL:        "/page?token=[redacted]",
		Host:       "example.org",
		RemoteAddr: "192.0.2.1:1234",
		Header:     http.Header{"User-Agent": {"probe/1.0\r\n\"quoted\" \x1b[31m"}, "Cookie": {"[redacted]"}},
		Route: &environ.Route{
			Patterns: []string{"/page"},
			Slots:    []environ.Slot{{Name: "app", Component: "probe", Kind: "app", Origin: "stack.yaml:3"}},
		},
	}
}

func reporterReports(k *kit) error {
	reporter, err := product[failure.Reporter](k)
	if err != nil {
		return err
	}
	panicked := incident()
	panicked.Failure = failure.Failure{Err: errors.New("index out of range"), Panic: true}
	panicked.Status, panicked.Route, panicked.Header = 0, nil, nil
	return k.within("Report", func(ctx context.Context) error {
		for _, i := range []*failure.Incident{incident(), panicked, {Failure: failure.Failure{Err: cause}}} {
			if err := reporter.Report(ctx, i); err != nil {
				return fmt.Errorf("Report: %w", err)
			}
		}
		return nil
	})
}

func reporterConcurrent(k *kit) error {
	reporter, err := product[failure.Reporter](k)
	if err != nil {
		return err
	}
	shared := incident()
	return k.together("Report", func(ctx context.Context, _ int) error {
		return reporter.Report(ctx, shared)
	})
}

func reporterKeeps(k *kit) error {
	i, err := k.instance()
	if err != nil {
		return err
	}
	given := incident()
	err = k.within("Report", func(ctx context.Context) error { return i.Product.(failure.Reporter).Report(ctx, given) })
	if err != nil {
		return err
	}
	k.close(i) // when its goroutines have seen the incident
	if want := incident(); !reflect.DeepEqual(given, want) {
		return fmt.Errorf("an incident that was %+v\n\tis now %+v", want, given)
	}
	return nil
}

func reporterContext(k *kit) error {
	reporter, err := product[failure.Reporter](k)
	if err != nil {
		return err
	}
	return k.ends(func(ctx context.Context) error {
		_ = reporter.Report(ctx, incident()) // it may well be an error
		return nil
	})
}
