package trial

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Suite is the results of the tests of one stack file.
type Suite struct {
	Name    string
	Results []Result
}

// WriteJUnit writes results in the XML that CI systems read as that of JUnit.
func WriteJUnit(w io.Writer, suites []Suite) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		File    string   `xml:"file,attr"`
		Line    int      `xml:"line,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure"`
		Log     string   `xml:"system-err,omitempty"`
	}
	type testsuite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	var out struct {
		XMLName  xml.Name    `xml:"testsuites"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Suites   []testsuite `xml:"testsuite"`
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
	for _, s := range suites {
		suite := testsuite{Name: s.Name, Tests: len(s.Results), Cases: []testcase{}}
		var all time.Duration
		for _, r := range s.Results {
			all += r.Took
			c := testcase{Name: r.Name, Class: s.Name, File: r.File, Line: r.Line, Time: seconds(r.Took)}
			if len(r.Failures) > 0 {
				suite.Failures++
				c.Log = r.Log
				c.Failure = &failure{Message: r.Failures[0].String()}
				var text strings.Builder
				for _, f := range r.Failures {
					fmt.Fprintf(&text, "%s\n%s", f, f.Detail)
				}
				c.Failure.Text = text.String()
			}
			suite.Cases = append(suite.Cases, c)
		}
		suite.Time = seconds(all)
		out.Tests += suite.Tests
		out.Failures += suite.Failures
		out.Suites = append(out.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
