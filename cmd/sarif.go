package cmd

import (
	"io"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// The parts of SARIF 2.1.0 that a report has. See https://docs.oasis-open.org/sarif/sarif/v2.1.0/.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string     `json:"id"`
		Short   sarifText  `json:"shortDescription"`
		Help    sarifHelp  `json:"help"`
		Default sarifLevel `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifHelp struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown"`
	}
	sarifLevel struct {
		Level stackfile.Severity `json:"level"`
	}
	sarifResult struct {
		RuleID    string             `json:"ruleId"`
		RuleIndex int                `json:"ruleIndex"`
		Level     stackfile.Severity `json:"level"`
		Message   sarifText          `json:"message"`
		Locations []sarifLocation    `json:"locations"`
		// The standard has all results of a run say whether they are suppressed, or none: [] is one that is not.
		Suppressions []sarifSuppression `json:"suppressions"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

// sarif writes the report in the format that code scanning services take. The rules are all there are, broken or not.
func (r *report) sarif(w io.Writer) error {
	run := sarifRun{
		Tool:       sarifTool{Driver: sarifDriver{Name: "stackd"}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		run.Tool.Driver.Version = info.Main.Version
	}
	rules := stackfile.Rules()
	for _, rule := range rules {
		page := schema.RulePage(rule.ID)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: rule.ID, Short: sarifText{rule.Summary}, Help: sarifHelp{Text: page, Markdown: page}, Default: sarifLevel{rule.Severity},
		})
	}
	for _, p := range r.all() {
		suppressions := []sarifSuppression{}
		if p.Allowed != "" {
			suppressions = append(suppressions, sarifSuppression{"inSource", p.Allowed})
		}
		run.Results = append(run.Results, sarifResult{
			RuleID:    p.Rule,
			RuleIndex: slices.IndexFunc(rules, func(r stackfile.Rule) bool { return r.ID == p.Rule }),
			Level:     p.Severity,
			Message:   sarifText{p.Text},
			Locations: []sarifLocation{{Physical: sarifPhysical{
				Artifact: sarifArtifact{fileURI(p.File)},
				Region:   sarifRegion{p.Line, p.Column},
			}}},
			Suppressions: suppressions,
		})
	}
	return indented(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

// fileURI returns a file's name as a URI, relative if the name is.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
