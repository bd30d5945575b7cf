package authbasic

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// hash is the hash of a password.
type hash interface {
	// matches takes as long for a wrong password as for the right one.
	matches(password string) bool
}

// line is one user of a file.
type line struct {
	name string
	hash hash
}

// readUsers reads a file; its error names the first line that is wrong, and never a hash.
func readUsers(path string) ([]line, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	users, err := parseUsers(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return users, nil
}

func parseUsers(data string) ([]line, error) {
	var users []line
	first := make(map[string]int)
	number := 0
	for text := range strings.Lines(data) {
		number++
		text = strings.TrimRight(text, " \t\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("%d: it isn't a name, a colon and a hash", number)
		}
		if first[name] != 0 {
			return nil, fmt.Errorf("%d: the user %q is on line %d already; it must be there once", number, name, first[name])
		}
		first[name] = number
		h, err := parseHash(rest)
		if err != nil {
			return nil, fmt.Errorf("%d: the hash of %q %w", number, name, err)
		}
		users = append(users, line{name, h})
	}
	return users, nil
}

func parseHash(text string) (hash, error) {
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$"} {
		if strings.HasPrefix(text, prefix) {
			return parseBcrypt(text)
		}
	}
	if rest, ok := strings.CutPrefix(text, "$argon2id$"); ok {
		return parseArgon2(rest)
	}
	return nil, errors.New("is of another kind; it must be bcrypt's, as htpasswd -B makes it, or argon2id's")
}

// bcrypted is a hash of bcrypt.
type bcrypted []byte

// maxCost is the cost at which one password takes about five seconds.
const maxCost = 16

func parseBcrypt(text string) (hash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || len(text) != 60 {
		return nil, errors.New("can't be read; it must be as htpasswd -B makes it")
	}
	if cost > maxCost {
		return nil, fmt.Errorf("has the cost %d; it must be at most %d", cost, maxCost)
	}
	return bcrypted(text), nil
}

func (h bcrypted) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h, []byte(password)) == nil
}

// argon is a hash of argon2id.
type argon struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// What one password may cost.
const (
	maxMemory = 256 << 10 // in KiB
	maxTime   = 16
)

// parseArgon2 reads what stands behind $argon2id$: v=19$m=65536,t=3,p=4$salt$key, as argon2 -e
// writes it.
func parseArgon2(text string) (hash, error) {
	unreadable := errors.New("can't be read; it must be like $argon2id$v=19$m=65536,t=3,p=4$salt$key, as argon2 -id -e makes it")
	parts := strings.Split(text, "$")
	if len(parts) != 4 || parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return nil, unreadable
	}
	var h argon
	options := strings.Split(parts[1], ",")
	if len(options) != 3 {
		return nil, unreadable
	}
	var numbers [3]uint32
	for i, prefix := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(options[i], prefix)
		n, err := strconv.ParseUint(digits, 10, []int{32, 32, 8}[i])
		if !ok || err != nil || n == 0 {
			return nil, unreadable
		}
		numbers[i] = uint32(n)
	}
	h.memory, h.time, h.threads = numbers[0], numbers[1], uint8(numbers[2])
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[2])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.key) < 16 || len(h.key) > 512 {
		return nil, unreadable
	}
	if h.memory > maxMemory {
		return nil, fmt.Errorf("needs m=%d KiB of memory; it must be at most %d", h.memory, maxMemory)
	}
	if h.time > maxTime {
		return nil, fmt.Errorf("has t=%d; it must be at most %d", h.time, maxTime)
	}
	return h, nil
}

func (h argon) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
