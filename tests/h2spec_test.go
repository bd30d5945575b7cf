package tests

import (
	"encoding/xml"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestH2spec runs every case of h2spec against the essay's stack: over TLS, and without on an address where nothing but
// HTTP/2 is spoken, since one of them is about what isn't HTTP/2.
func TestH2spec(t *testing.T) {
	t.Parallel()
	program := peer(t, "h2spec")
	pem := certificate(t)
	dir := copyStacks(t)
	file := filepath.Join(dir, "webware.yaml")
	edit(t, file, `- \{use: http, listen: "127\.0\.0\.1:0"\}`, fmt.Sprintf(`- {use: http, listen: "127.0.0.1:0", protocols: [h2]}
  - {use: http, listen: "localhost:0", tls: {certificate: %s, key: %[1]s}}`, pem))
	// The cases send things while a request is under way, so none may be answered before they came: the page doesn't
	// fit in the window of a stream, and what is posted to it is read to its end before there is an answer.
	site := filepath.Join(dir, "webware", "site")
	replace(t, filepath.Join(site, "large.txt"), []byte(strings.Repeat("more than a window. ", 10_000)))
	edit(t, file, `(?m)^urls:$`, `urls:
  "POST /large.txt":
    finder: {factories: {.txt: {use: cgi, command: [sh, -c, 'cat >/dev/null; printf "Content-Type: text/plain\n\n"; cat "$$$$SCRIPT_FILENAME"']}}}`)
	s := start(t, file)
	for name, address := range map[string]string{"h2c": strings.TrimPrefix(s.url, "http://"), "TLS": s.bound("localhost:0")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if failed, out := h2spec(t, program, address, name == "TLS"); len(failed) > 0 {
				t.Errorf("these fail:\n%s\n%s", strings.Join(failed, "\n"), out)
			}
		})
	}
}

// h2spec runs all its cases, and returns those that fail, and all that it says.
func h2spec(t *testing.T, program, address string, secure bool) (failed []string, out []byte) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	// How long, in seconds, a busy machine may take to answer. No case that passes waits for it.
	const wait = "60"
	args := []string{"-h", host, "-p", port, "-P", "/large.txt", "-o", wait, "-j", report}
	if secure {
		args = append(args, "-t", "-k")
	}
	out, err = exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), " tests, ") { // it says so, too, when cases fail
		t.Fatalf("%v\n%s", err, out)
	}
	var suites struct {
		Cases []struct {
			Package string    `xml:"package,attr"`
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(read(t, report), &suites); err != nil {
		t.Fatal(err)
	}
	if len(suites.Cases) != 145 {
		t.Errorf("it has %d cases; it must have 145", len(suites.Cases))
	}
	for _, c := range suites.Cases {
		if c.Skipped != nil {
			t.Errorf("%s: %s is skipped", c.Package, c.Name)
		}
		if c.Failure != nil || c.Error != nil {
			failed = append(failed, c.Package+": "+c.Name)
		}
	}
	return failed, out
}
