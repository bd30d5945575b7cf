// Package lsp is a language server for stack files: it speaks the Language Server Protocol (3.17) with one editor.
//
// While a stack file is open, each problem that stackd check has with it stands at its place, with the rule as its code: of
// the text in the editor, also where that is of a file which another one extends, includes or mounts. Problems of such files
// are told of under their own names, and taken back when they are gone. What has no servers:, stack: or extends: isn't
// checked by itself, and neither is a file without servers: that another open one is made of. YAML whose keys are mostly
// none of a stack file's is for something else, and left alone.
//
// The manual of a component, a key, a setting or a rule comes with the cursor on it, and for what stands under urls: the
// value there, the line that set it and what it overrode. Names of components, slots, keys, values and rules are
// completed where they are legal, also while the file can't be read as YAML. A slot under urls: leads to its entry, a path
// after extends: or include: to its file.
//
// One file is loaded at a time, with the limits of a check. A change takes the place of the check that is under way, and none
// outlives the server. A message has 16 MiB at most, and a longer one ends the server. Nothing is written, no socket is
// opened, and a document that isn't a file is checked without a look at the disk. Positions are in UTF-16 code units unless
// the editor offers UTF-8.
package lsp
