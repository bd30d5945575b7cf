package cmd

import (
	"os"
	"slices"
)

// startedByWebServer reports whether this process is a CGI program (RFC 3875).
func startedByWebServer() bool { return os.Getenv("GATEWAY_INTERFACE") != "" }

// withoutQuery returns the arguments without those that a web server made of a visitor's query (RFC 3875, 4.4), who could
// give the program any flag otherwise. They come behind the script, which is the stack file.
func withoutQuery(args []string) []string {
	if len(args) == 0 || args[0] != "run" || !startedByWebServer() {
		return args
	}
	if i := slices.Index(args, os.Getenv("SCRIPT_FILENAME")); i >= 0 {
		return args[:i+1]
	}
	return args[:min(len(args), 2)] // run FILE
}
