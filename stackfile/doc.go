// Package stackfile turns a stack file into a running stack.
//
// [Load] reads the file and checks all of it: it expands ${env:NAME} and ${file:path},
// finds which overrides apply to which URLs, merges them with the stack, decodes the
// result into the settings of the components, and holds these against their constraints
// and the components' promises. What it returns is a [Plan], or every [Problem] of the file
// at once. It opens nothing, asks no network and writes nothing: a check of a stack
// file is Load and no more.
//
// A file may extend another one, include overrides, and mount whole stacks. All of that is read and checked with it,
// and a problem names the file that it stands in.
//
// A file may have 2 MiB, its stack 128 entries, a pattern 64 segments, and what its references stand for 8 MiB;
// whatever is in it, a load or a check keeps no more than 128 MiB alive, and the program has no more than
// 256 in use. Secrets are shown nowhere: they are redacted in the settings that are explained, and in the lines that
// problems quote.
//
// Two overrides of which neither is more specific are in conflict where it makes a difference which comes first, in
// any order of all that apply. Where 64 of these that say something of one thing, 16,384 steps of trying, or two million for the
// whole file, don't tell, that is a conflict.
//
// [Plan.Build] makes the plan's [Stack]: it builds the components, each once for each
// distinct set of settings, and composes one chain for each distinct set of overrides. What
// the stack that is running already has is taken over, with its state.
//
// [Plan.Explain] tells what a URL meets, and which line of the file said so.
package stackfile
