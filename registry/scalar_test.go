package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
)

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want registry.Size
		as   string // what String writes
		err  string
	}{
		{text: "0", want: 0, as: "0"},
		{text: "4096", want: 4096, as: "4KiB"},
		{text: "4097", want: 4097, as: "4097"},
		{text: "1B", want: 1, as: "1"},
		{text: "64KiB", want: 64 << 10, as: "64KiB"},
		{text: "64 KiB", want: 64 << 10, as: "64KiB"},
		{text: "0 ", err: "it must not end with a space"},
		{text: "64KiB ", err: `the unit "KiB " is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`},
		{text: "64\tKiB", err: `the unit "\tKiB" is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`},
		{text: "64kib", want: 64 << 10, as: "64KiB"},
		{text: "10MB", want: 10e6, as: "10MB"},
		{text: "10mb", want: 10e6, as: "10MB"},
		{text: "1kB", want: 1000, as: "1kB"},
		{text: "1.5GiB", want: 3 << 29, as: "1536MiB"},
		{text: "0.5KiB", want: 512, as: "512"},
		{text: "2TB", want: 2e12, as: "2TB"},
		{text: "1TiB", want: 1 << 40, as: "1TiB"},
		{text: "-1", want: -1, as: "-1"},
		{text: "9223372036854775807", want: math.MaxInt64, as: "9223372036854775807"},
		{text: "", err: "it must be a number of bytes such as 4096 or 64KiB"},
		{text: "KiB", err: "it must be a number of bytes such as 4096 or 64KiB"},
		{text: "many", err: `the unit "many" is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`},
		{text: "10 apples", err: `the unit "apples" is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`},
		{text: "1.5", err: "it must be a number of bytes such as 4096 or 64KiB"},
		{text: "0.3B", err: "it must be a whole number of bytes such as 4096 or 64KiB"},
		{text: "1.2.3KiB", err: "it must be a number of bytes such as 4096 or 64KiB"},
		{text: "9000000TiB", err: "it is too large"},
		{text: "-9000000TiB", err: "it is too large"},
		{text: "9999999999999999999", err: "it must be a number of bytes such as 4096 or 64KiB"},
		{text: "99999999.5TiB", err: "it must be a whole number of bytes such as 4096 or 64KiB"},
		{text: "-99999999.5TiB", err: "it must be a whole number of bytes such as 4096 or 64KiB"},
		{text: "NaN", err: `the unit "NaN" is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB`},
		{text: "0x10", err: "it must be a number of bytes such as 4096 or 64KiB"},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := registry.ParseSize(test.text)
			switch {
			case test.err != "":
				if err == nil || err.Error() != test.err {
					t.Errorf("ParseSize: got %d, %v; want the error %q", got, err, test.err)
				}
			case err != nil || got != test.want:
				t.Errorf("ParseSize: got %d, %v; want %d", got, err, test.want)
			case got.String() != test.as:
				t.Errorf("String: got %q, want %q", got, test.as)
			}
		})
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0", "4096", "64KiB", "1.5 GiB", "-1", "9223372036854775807", "8388607.999TiB", "-9223372036854775808", "1e3kB", "kB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := registry.ParseSize(text)
		if err != nil {
			return
		}
		again, err := registry.ParseSize(size.String())
		if err != nil || again != size {
			t.Errorf("ParseSize(%q) = %d, written %q, which is read as %d, %v", text, size, size, again, err)
		}
		if n, bad := strings.CutPrefix(text, "-"); bad != (size < 0) && strings.ContainsAny(n, "123456789") {
			t.Errorf("ParseSize(%q) = %d: the sign is wrong", text, size)
		}
	})
}

func TestPath(t *testing.T) {
	for _, test := range []struct{ path, dir, want string }{
		{"", "/etc", ""},
		{"site", "/etc/stackd", "/etc/stackd/site"},
		{"../site", "/etc/stackd", "/etc/site"},
		{".", "/etc/stackd", "/etc/stackd"},
		{"/srv/site", "/etc", "/srv/site"},
	} {
		if got := registry.Path(test.path).Within(test.dir); string(got) != test.want {
			t.Errorf("Path(%q).Within(%q): got %q, want %q", test.path, test.dir, got, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, test := range []struct {
		address         registry.Address
		network, target string
		within          registry.Address
		err             string
	}{
		{address: "127.0.0.1:8080", network: "tcp", target: "127.0.0.1:8080"},
		{address: ":8080", network: "tcp", target: ":8080"},
		{address: "[::1]:0", network: "tcp", target: "[::1]:0"},
		{address: "example.org:443", network: "tcp", target: "example.org:443"},
		{address: "unix:run/s.sock", network: "unix", target: "run/s.sock", within: "unix:/etc/run/s.sock"},
		{address: "unix:/run/s.sock", network: "unix", target: "/run/s.sock"},
		{address: "unix:", network: "unix", err: "it has no path; it must be like unix:run/stackd.sock"},
		{address: "8080", network: "tcp", target: "8080", err: "it must be host:port, such as 127.0.0.1:8080, or unix:path"},
		{address: "", network: "tcp", err: "it must be host:port, such as 127.0.0.1:8080, or unix:path"},
		{address: "::1:8080", network: "tcp", target: "::1:8080", err: "it must be host:port, such as 127.0.0.1:8080, or unix:path"},
		{address: "localhost:http", network: "tcp", target: "localhost:http", err: `the port is "http"; it must be a number from 0 to 65535`},
		{address: "localhost:65536", network: "tcp", target: "localhost:65536", err: `the port is "65536"; it must be a number from 0 to 65535`},
		{address: "localhost:-1", network: "tcp", target: "localhost:-1", err: `the port is "-1"; it must be a number from 0 to 65535`},
		{
			address: registry.Address("unix:/" + strings.Repeat("x", 107)), network: "unix", target: "/" + strings.Repeat("x", 107),
			err: "its path is 108 bytes long; a unix socket's may have at most 107",
		},
	} {
		t.Run(string(test.address), func(t *testing.T) {
			if network, target := test.address.Network(); network != test.network || target != test.target {
				t.Errorf("Network: got %q, %q; want %q, %q", network, target, test.network, test.target)
			}
			if test.within == "" {
				test.within = test.address
			}
			if got := test.address.Within("/etc"); got != test.within {
				t.Errorf("Within(/etc): got %q, want %q", got, test.within)
			}
			if err := test.address.Check(); fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
				t.Errorf("Check: got %v, want %q", err, test.err)
			}
		})
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "tiger"
	secret := registry.NewSecret(text)
	if secret.Reveal() != text || secret.IsZero() {
		t.Errorf("Reveal: got %q, want %q", secret.Reveal(), text)
	}
	holder := struct {
		Password registry.Secret
		List     []registry.Secret
		Map      map[string]registry.Secret
	}{secret, []registry.Secret{secret}, map[string]registry.Secret{"a": secret}}
	// As a component keeps its settings, in a field of its own that nobody else sees.
	type settings struct{ Password registry.Secret }
	hidden := struct {
		cfg      settings
		password registry.Secret
	}{settings{secret}, secret}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10s"} {
		printed = append(printed, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, &secret), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, hidden), fmt.Sprintf(verb, &hidden))
	}
	b, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	printed = append(printed, string(b), fmt.Sprint(fmt.Errorf("with %v", secret)))
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("settings", "password", secret, "all", holder)
	}
	printed = append(printed, log.String())
	for _, p := range printed {
		if strings.Contains(p, text) || strings.Contains(p, fmt.Sprintf("%x", text)) {
			t.Errorf("the secret is printed: %s", p)
		}
	}
	if got := secret.String(); got != "[redacted]" {
		t.Errorf("String: got %q, want [redacted]", got)
	}
	if empty := (registry.Secret{}); empty.String() != "" || !empty.IsZero() {
		t.Errorf("String of an empty secret: got %q, want nothing", empty)
	}
}
