package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/stackfile"
)

func sample() *report {
	r := &report{}
	r.add("a,b.yaml", stackfile.Problems{
		{File: "a,b.yaml", Line: 3, Column: 7, Rule: "invalid", Severity: stackfile.Error, Text: "status is \"100%\"\nand so on"},
		{File: "base: x.yaml", Line: 1, Column: 2, Rule: "order", Severity: stackfile.Warning, Text: "a should stand before b"},
	})
	r.add("/srv/c d.yaml", stackfile.Problems{
		{File: "base: x.yaml", Line: 1, Column: 2, Rule: "order", Severity: stackfile.Warning, Text: "a should stand before b"},
	})
	r.add("good.yaml", nil)
	return r
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name, format, want string
		strict, terminal   bool
	}{
		{name: "text", format: "text", want: `a,b.yaml:3:7: status is "100%"
and so on
base: x.yaml:1:2: warning: a should stand before b [order]
base: x.yaml:1:2: warning: a should stand before b [order]
/srv/c d.yaml: good, with 1 warning
good.yaml: good
`},
		{name: "strict on a terminal", format: "text", strict: true, terminal: true, want: `a,b.yaml:3:7: status is "100%"
and so on
base: x.yaml:1:2: warning: a should stand before b [order]
base: x.yaml:1:2: warning: a should stand before b [order]
good.yaml: good
3 files, 1 problem, 2 warnings
`},
		{name: "github", format: "github", want: `::error file=a%2Cb.yaml,line=3,col=7,title=stackd%3A invalid::status is "100%25"%0Aand so on
::warning file=base%3A x.yaml,line=1,col=2,title=stackd%3A order::a should stand before b
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := sample()
			r.terminal = tt.terminal
			var b strings.Builder
			if err := r.write(&b, tt.format, tt.strict); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSARIF reads a report back as the standard has it: names, nesting, and what refers to what.
func TestSARIF(t *testing.T) {
	var b bytes.Buffer
	report := sample()
	report.add("allowed.yaml", stackfile.Problems{{File: "allowed.yaml", Line: 5, Column: 5, Rule: "slot-off", Severity: stackfile.Warning, Text: "session is off", Allowed: "next year"}})
	if report.warnings != sample().warnings {
		t.Errorf("%d warnings; what is allowed is none", report.warnings)
	}
	if err := report.write(&b, "sarif", false); err != nil {
		t.Fatal(err)
	}
	type text struct{ Text string }
	type log struct {
		Version string
		Runs    []struct {
			ColumnKind string
			Tool       struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID                   string
						ShortDescription     text
						Help                 struct{ Text, Markdown string }
						DefaultConfiguration struct{ Level string }
					}
				}
			}
			Results []struct {
				RuleID       string
				RuleIndex    int
				Level        string
				Message      text
				Suppressions []struct{ Kind, Justification string }
				Locations    []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
			}
		}
	}
	var got log
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "2.1.0" || len(got.Runs) != 1 {
		t.Fatalf("it is of version %q, with %d runs", got.Version, len(got.Runs))
	}
	run := got.Runs[0]
	if run.ColumnKind != "unicodeCodePoints" || run.Tool.Driver.Name != "stackd" || len(run.Tool.Driver.Rules) != len(stackfile.Rules()) {
		t.Errorf("columns are %s, the tool is %s with %d rules", run.ColumnKind, run.Tool.Driver.Name, len(run.Tool.Driver.Rules))
	}
	for _, r := range run.Tool.Driver.Rules {
		if r.ID == "" || r.ShortDescription.Text == "" || r.Help.Text == "" || r.Help.Markdown == "" || r.DefaultConfiguration.Level != "error" && r.DefaultConfiguration.Level != "warning" {
			t.Errorf("a rule lacks something: %+v", r)
		}
	}
	var results []string
	for _, r := range run.Results {
		at := r.Locations[0].PhysicalLocation
		results = append(results, strings.Join([]string{r.RuleID, run.Tool.Driver.Rules[r.RuleIndex].ID, r.Level, at.ArtifactLocation.URI, r.Message.Text, fmt.Sprint(r.Suppressions)}, "|"))
		if r.Suppressions == nil {
			t.Errorf("%s doesn't say whether it is suppressed", r.RuleID)
		}
		if at.Region.StartLine < 1 || at.Region.StartColumn < 1 {
			t.Errorf("it stands at %+v", at.Region)
		}
	}
	if diff := cmp.Diff([]string{
		"invalid|invalid|error|a,b.yaml|status is \"100%\"\nand so on|[]",
		"order|order|warning|./base:%20x.yaml|a should stand before b|[]",
		"slot-off|slot-off|warning|allowed.yaml|session is off|[{inSource next year}]",
	}, results); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if uri := fileURI("/srv/c d.yaml"); uri != "file:///srv/c%20d.yaml" {
		t.Errorf("an absolute path is %s", uri)
	}
}

func TestIsStackFile(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]bool{
		"servers: [http]\n":                    true,
		"# x\n\n\"stack\" : []\n":              true,
		"extends: base.yaml\n":                 true,
		"urls: {/: {}}\n":                      false,
		"  stack: below something\n":           false,
		"stacks: []\n":                         false,
		"stack: [\n broken":                    true,
		"":                                     false,
		"a: |\n  servers: in a text\nb: 1":     false,
		"\uFEFFextends: base.yaml\n":           true,
		"vars: {}\rstack: [say]\r":             true,
		"a: " + strings.Repeat("long ", 1<<16): false,
	} {
		path := filepath.Join(dir, "x.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := isStackFile(path); got != want {
			t.Errorf("%q: %v, want %v", content, got, want)
		}
	}
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if isStackFile(pipe) {
		t.Error("a pipe in a folder is taken for a stack file")
	}
}
