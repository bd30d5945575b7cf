// Package tests is what needs the whole program, or the whole tree: the floors of
// the house, the command lines, the ready-made stacks, real peers, a browser.
//
// The command run beside this file is the one that runs every test there is. It
// installs the peers (nginx, git, chromium and the like) and sets
// STACKD_PEERS=required. Without that setting, a test that misses its peer, or that may not
// mount a file system or open a terminal, names what it misses and skips; with it, the test fails.
package tests
