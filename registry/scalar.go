package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written 4096, 64KiB, 10MB or 1GiB: without a unit or with
// one of B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024).
type Size int64

// units are in the order in which String tries them, the largest first.
var units = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"B", 1},
}

// ParseSize reads a Size. Units are not case-sensitive, and may stand behind spaces.
func ParseSize(s string) (Size, error) {
	end := strings.LastIndexAny(s, "0123456789.") + 1
	number, unit := s[:end], strings.TrimLeft(s[end:], " ")
	factor := int64(1)
	if end < len(s) {
		factor = 0
		for _, u := range units {
			if strings.EqualFold(unit, u.name) {
				factor = u.size
			}
		}
		if unit == "" {
			return 0, errors.New("it must not end with a space")
		}
		if factor == 0 {
			return 0, fmt.Errorf("the unit %q is unknown; it must be one of B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", unit)
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64/factor || n < math.MinInt64/factor {
			return 0, errors.New("it is too large")
		}
		return Size(n * factor), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == "" {
		return 0, errors.New("it must be a number of bytes such as 4096 or 64KiB")
	}
	if f *= float64(factor); math.Abs(f) >= math.MaxInt64 || f != math.Trunc(f) {
		return 0, errors.New("it must be a whole number of bytes such as 4096 or 64KiB")
	}
	return Size(f), nil
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.size == 0 && u.size > 1 {
			return strconv.FormatInt(int64(s)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Path is the path of a file or folder. A relative one is relative to the file that
// wrote it; when a component is built its paths are absolute.
type Path string

// Within returns p as an absolute path, taking a relative one from dir. The empty path
// stays empty.
func (p Path) Within(dir string) Path {
	if p == "" || filepath.IsAbs(string(p)) {
		return p
	}
	return Path(filepath.Join(dir, string(p)))
}

// Address is a network address: host:port, such as 127.0.0.1:8080, [::1]:8080, :8080 for
// every interface, or port 0 for any free one; or unix:path, a unix socket whose path is
// relative to the file that wrote it.
type Address string

// unixPrefix begins the address of a unix socket.
const unixPrefix = "unix:"

// Network splits the address as [net.Dial] and [net.Listen] want it: "tcp" and
// host:port, or "unix" and a path.
func (a Address) Network() (network, address string) {
	if path, ok := strings.CutPrefix(string(a), unixPrefix); ok {
		return "unix", path
	}
	return "tcp", string(a)
}

// Within returns a with the path of a unix socket made absolute, a relative one being
// taken from dir.
func (a Address) Within(dir string) Address {
	if network, path := a.Network(); network == "unix" {
		return Address(unixPrefix) + Address(Path(path).Within(dir))
	}
	return a
}

// Check says what is wrong with the address, if anything is. It asks no network.
func (a Address) Check() error {
	network, address := a.Network()
	if network == "unix" {
		switch {
		case address == "":
			return errors.New("it has no path; it must be like unix:run/stackd.sock")
		case len(address) > 107: // sockaddr_un.sun_path, less the final NUL
			return fmt.Errorf("its path is %d bytes long; a unix socket's may have at most 107", len(address))
		}
		return nil
	}
	const want = "it must be host:port, such as 127.0.0.1:8080, or unix:path"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New(want)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("the port is %q; it must be a number from 0 to 65535", port)
	}
	return nil
}

// redacted is printed for every secret.
const redacted = "[redacted]"

// Secret is a text that is never printed, such as a password. Whatever formats it, as text, in a
// log or as JSON, gets "[redacted]".
type Secret struct {
	// Fmt calls no method of what is in an unexported field, and prints what it finds there: an address.
	text *string
}

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the text. Call it only where the text is used.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns "[redacted]", or nothing for an empty secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return redacted
}

// Format writes String, whatever the verb: %#v and %x reveal nothing either.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText returns String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// formatDuration writes a duration without the parts that are zero: 12h, not 12h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
