package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"gopkg.in/yaml.v3"
)

// TestRead reads files that are right: the tree has the keys and texts that YAML sees, at the same places.
func TestRead(t *testing.T) {
	// Nobody means these, or they are about YAML that has no use in a stack file.
	odd := []string{"bad-braces-value.txtar stack.yaml", "bad-no-dashes.txtar stack.yaml", "bad-keys-not-text.txtar stack.yaml", "bad-two-documents.txtar stack.yaml"}
	texts := map[string]string{
		"quotes":       "a: \"b\\\"c: d\" # e\n'f': 'g''h'\n\"i j\":\n  - \"k: l\"\n",
		"columns":      "a:\n- b\n-  c: d\n   e: f\ng: [h, {i: j, k}, \"l\"]\n",
		"brackets":     "a: {b: [c,\n    d], # e\n  f: g\n}\nh: {\n  i: j\n}\n",
		"block texts":  "a: |\n  b: c\n\n  d\ne: >-\n  f\ng:\n  - |\n    h: i\n  - j\n",
		"anchors":      "a: &x {b: c}\nd: !!str e\n",
		"colons":       "a: http://b/c:d\ne: {f: http://g, h: i:j}\n",
		"other ends":   "a:\r\n  - b\r\n  - {c: d}\r\ne: f\r\n",
		"a mark":       "\uFEFFa: b\nc: d\n",
		"a first line": "--- # x\na: b\n",
		"nested lists": "a:\n  - - b\n    - c\n  - - d: e\n      f: g\n",
	}
	for _, pattern := range []string{"../../stacks/*.yaml", "../../stackfile/testdata/corpus/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(file) == ".yaml" {
				texts[filepath.Base(file)] = string(data)
			}
			for _, part := range txtar.Parse(data).Files {
				if filepath.Ext(part.Name) == ".yaml" {
					texts[filepath.Base(file)+" "+part.Name] = string(part.Data)
				}
			}
		}
	}
	compared := 0
	for name, text := range texts {
		var doc yaml.Node
		if slices.Contains(odd, name) || yaml.Unmarshal([]byte(text), &doc) != nil || doc.Kind == 0 {
			continue // TestReadAnything is about those
		}
		compared++
		t.Run(name, func(t *testing.T) {
			var want, got strings.Builder
			yamlKeys(&want, text, doc.Content[0], "")
			treeKeys(&got, text, read(text), "")
			if diff := cmp.Diff(want.String(), got.String()); diff != "" {
				t.Errorf("%s\n-YAML +tree:\n%s", text, diff)
			}
		})
	}
	if compared < 100 {
		t.Errorf("only %d files were compared", compared)
	}
}

// yamlKeys and treeKeys write the path of each key and each text with the place where it stands.
func yamlKeys(b *strings.Builder, text string, n *yaml.Node, path string) {
	at := yamlLines(strings.TrimPrefix(text, byteOrderMark)).character(n.Line-1, n.Column-1)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			path := path + "/" + key.Value
			fmt.Fprintf(b, "%s %d:%d\n", path, key.Line, key.Column)
			yamlKeys(b, text, n.Content[i+1], path)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			yamlKeys(b, text, item, fmt.Sprintf("%s/%d", path, i))
		}
	case yaml.ScalarNode:
		if n.Value != "" && n.Style == 0 && n.Anchor == "" && strings.HasPrefix(strings.TrimPrefix(text, byteOrderMark)[at:], n.Value) {
			fmt.Fprintf(b, "%s = %s %d:%d\n", path, n.Value, n.Line, n.Column)
		}
	}
}

func treeKeys(b *strings.Builder, text string, n *node, path string) {
	place := func(offset int) string {
		begin := strings.LastIndexAny(text[:offset], "\r\n") + 1
		line := strings.TrimPrefix(text[begin:offset], byteOrderMark)
		return fmt.Sprintf("%d:%d", len(yamlLines(text[:offset]).begin), utf8.RuneCountInString(line)+1)
	}
	for _, p := range n.pairs {
		fmt.Fprintf(b, "%s/%s %s\n", path, p.key, place(p.begin))
		treeKeys(b, text, p.value, path+"/"+p.key)
	}
	for i, item := range n.items {
		treeKeys(b, text, item, fmt.Sprintf("%s/%d", path, i))
	}
	if n.form == scalar && n.text != "" && strings.IndexByte("\"'*", text[n.begin]) < 0 && !strings.Contains(text[max(0, n.begin-9):n.begin], "!!") {
		fmt.Fprintf(b, "%s = %s %s\n", path, n.text, place(n.begin))
	}
}
