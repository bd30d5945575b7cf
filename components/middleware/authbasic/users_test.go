package authbasic

import (
	"strings"
	"testing"
)

func TestParseUsers(t *testing.T) {
	const (
		right    = "$2y$04$ixjfO0BBYNoSgdeEp625uePStTod9.z8.0ivbabuo9hSasbopD/Ty"
		argonish = ` can't be read; it must be like $argon2id$v=19$m=65536,t=3,p=4$salt$key, as argon2 -id -e makes it`
		other    = ` is of another kind; it must be bcrypt's, as htpasswd -B makes it, or argon2id's`
		salt     = "c29tZXNhbHQ"
		key      = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	)
	for _, test := range []struct {
		name, data string
		users      int
		want       string
	}{
		{"nothing", "", 0, ""},
		{"all that may be there", file, 3, ""},
		{"lines of Windows", strings.ReplaceAll(file, "\n", "\r\n"), 3, ""},
		{"no end of the last line", "ada:" + right, 1, ""},
		{"the older marks of bcrypt", "ada:" + strings.Replace(right, "$2y", "$2a", 1) + "\nbob:" + strings.Replace(right, "$2y", "$2b", 1), 2, ""},
		{"no colon", "\nada\n", 0, "2: it isn't a name, a colon and a hash"},
		{"no name", ":" + right, 0, "1: it isn't a name, a colon and a hash"},
		{"no hash", "ada:", 0, `1: the hash of "ada"` + other},
		{"a plain password", "ada:sesame", 0, `1: the hash of "ada"` + other},
		{"MD5", "ada:$apr1$Vq2Hwd0F$DRdKiqTp9eqRnv2w0XFYY1", 0, `1: the hash of "ada"` + other},
		{"SHA-1", "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", 0, `1: the hash of "ada"` + other},
		{"argon2i", "ada:$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + key, 0, `1: the hash of "ada"` + other},
		{"bcrypt cut short", "ada:" + right[:59], 0, `1: the hash of "ada" can't be read; it must be as htpasswd -B makes it`},
		{"bcrypt with more", "ada:" + right + ":x", 0, `1: the hash of "ada" can't be read; it must be as htpasswd -B makes it`},
		{"bcrypt that takes too long", "ada:" + strings.Replace(right, "$04$", "$17$", 1), 0, `1: the hash of "ada" has the cost 17; it must be at most 16`},
		{"argon2id of another version", "ada:$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + key, 0, `1: the hash of "ada"` + argonish},
		{"argon2id without time", "ada:$argon2id$v=19$m=256,p=1$" + salt + "$" + key, 0, `1: the hash of "ada"` + argonish},
		{"argon2id with time 0", "ada:$argon2id$v=19$m=256,t=0,p=1$" + salt + "$" + key, 0, `1: the hash of "ada"` + argonish},
		{"argon2id with 256 threads", "ada:$argon2id$v=19$m=256,t=1,p=256$" + salt + "$" + key, 0, `1: the hash of "ada"` + argonish},
		{"argon2id with no key", "ada:$argon2id$v=19$m=256,t=2,p=1$" + salt + "$", 0, `1: the hash of "ada"` + argonish},
		{"argon2id with a short salt", "ada:$argon2id$v=19$m=256,t=2,p=1$c2FsdA$" + key, 0, `1: the hash of "ada"` + argonish},
		{"argon2id that takes too much", "ada:$argon2id$v=19$m=262145,t=2,p=1$" + salt + "$" + key, 0, `1: the hash of "ada" needs m=262145 KiB of memory; it must be at most 262144`},
		{"argon2id that takes too long", "ada:$argon2id$v=19$m=256,t=17,p=1$" + salt + "$" + key, 0, `1: the hash of "ada" has t=17; it must be at most 16`},
		{"twice", "ada:" + right + "\nbob:" + right + "\nada:" + right, 0, `3: the user "ada" is on line 1 already; it must be there once`},
	} {
		t.Run(test.name, func(t *testing.T) {
			users, err := parseUsers(test.data)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want || len(users) != test.users {
				t.Errorf("got %d users and %q, want %d and %q", len(users), got, test.users, test.want)
			}
		})
	}
}

// FuzzParseUsers looks for files that make it panic, now or when a password is tried.
func FuzzParseUsers(f *testing.F) {
	f.Add(file)
	f.Add("a:$argon2id$v=19$m=1,t=1,p=255$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(_ *testing.T, data string) {
		users, err := parseUsers(data)
		if err != nil {
			return
		}
		for _, u := range users {
			if a, ok := u.hash.(argon); ok && a.memory <= 1024 && a.time == 1 {
				a.matches("password")
			}
		}
	})
}
