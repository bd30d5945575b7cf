package cmd

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// completion is what cobra asks for the words that an argument may be.
type completion = func(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective)

// yamlFiles completes an argument with YAML files.
func yamlFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// names completes arguments with the components, and for a manual with keys of the stack file and the rules after "rule:".
func (p *program) names(rules bool) completion {
	return func(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var found []cobra.Completion
		if rules && strings.HasPrefix(word, "rule:") {
			for _, r := range stackfile.Rules() {
				found = append(found, "rule:"+r.ID)
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		}
		if rules {
			for _, key := range stackfile.Keys() {
				found = append(found, cobra.CompletionWithDesc(key, "key of the stack file"))
			}
		}
		for _, d := range p.registry.All() {
			found = append(found, cobra.CompletionWithDesc(d.Name, string(d.Kind)+": "+schema.Synopsis(d)))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// urls completes what follows a stack file's name with methods, and with the URLs that its overrides are about.
func (p *program) urls(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return yamlFiles(c, args, word)
	}
	var found []cobra.Completion
	if len(args) == 1 {
		found = append(found, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete)
	}
	plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
	if err != nil {
		return found, cobra.ShellCompDirectiveNoFileComp // explain will say what is wrong with it
	}
	found = append(found, "/")
	for _, o := range plan.Outline().Overrides {
		url := o.Pattern.Pattern
		if _, rest, ok := strings.Cut(url, " "); ok {
			url = rest // what follows a method
		}
		found = append(found, url)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// slots completes the name of a slot of the stack file that is the first argument.
func (p *program) slots(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // explain will say what is wrong with it
	}
	var found []cobra.Completion
	for _, s := range plan.Outline().Slots {
		found = append(found, cobra.CompletionWithDesc(s.Name, s.Kind+": "+schema.Synopsis(p.registry.Lookup(registry.Kind(s.Kind), s.Component))))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
