package compress

import (
	"strconv"
	"strings"
)

// accepted returns which of the encodings offered, the best first, the client wants by its
// Accept-Encoding (RFC 9110, 12.5.3), or "" for none.
func accepted(fields, offered []string) string {
	if len(fields) == 0 {
		return ""
	}
	// Without q, identity is what is left when nothing better is wanted.
	best := ""
	bestWeight, _ := weight(fields, "identity")
	for _, encoding := range offered {
		w, named := weight(fields, encoding)
		if !named {
			w, _ = weight(fields, "*")
		}
		if w > 0 && (w > bestWeight || best == "" && w == bestWeight) {
			best, bestWeight = encoding, w
		}
	}
	return best
}

// weight returns how much the client wants an encoding, from 0 to 1000, and whether it
// names it.
func weight(fields []string, encoding string) (thousandths int, named bool) {
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			if strings.EqualFold(name, "x-gzip") { // RFC 9110, 8.4.1.3
				name = encodingGzip
			}
			if strings.EqualFold(name, encoding) {
				return quality(params), true
			}
		}
	}
	return 0, false
}

// quality reads the parameter q in thousandths. What can't be read is not wanted.
func quality(params string) int {
	params = strings.TrimSpace(params)
	if params == "" {
		return 1000
	}
	name, value, _ := strings.Cut(params, "=")
	if !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 0
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || q < 0 || q > 1 {
		return 0
	}
	return int(q*1000 + 0.5)
}
