// Command stackd serves a stack file. See package cmd for its commands.
//
// A program with components of its own is this file with their packages imported
// beside the standard ones.
package main

import (
	"os"

	"github.com/stackd/stackd/cmd"
	_ "github.com/stackd/stackd/components/standard" // the components that come with stackd
)

func main() { os.Exit(cmd.Main(os.Args[1:])) }
