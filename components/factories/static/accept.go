package static

import "strings"

// choose returns the body that a client likes best by its Accept-Encoding (RFC 9110, 12.5.3): of those it
// likes equally a compressed one, and of these the first.
func choose(accept []string, plain *body, compressed []*body) *body {
	if len(accept) == 0 {
		return plain
	}
	best, most := plain, weight(accept, "identity")
	for _, b := range compressed {
		if q := weight(accept, b.encoding.name); q > 0 && (q > most || q == most && best == plain) {
			best, most = b, q
		}
	}
	return best
}

// weight returns the q-value of an encoding in thousandths, 0 when it isn't accepted. An
// identity that isn't mentioned has less than any other that is.
func weight(accept []string, name string) int {
	rest := 0
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(item, ";")
			coding = strings.TrimSpace(coding)
			switch {
			case strings.EqualFold(coding, name):
				return quality(params)
			case coding == "*":
				rest = quality(params)
			}
		}
	}
	if name == "identity" {
		return 0
	}
	return rest
}

// quality returns the q-value among an item's parameters in thousandths, 1000 when there is none, and 0
// when it isn't one.
func quality(params string) int {
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		whole, fraction, _ := strings.Cut(strings.TrimSpace(value), ".")
		if whole != "0" && whole != "1" || len(fraction) > 3 {
			return 0
		}
		q := int(whole[0]-'0') * 1000
		for i, unit := 0, 100; i < len(fraction); i, unit = i+1, unit/10 {
			if fraction[i] < '0' || fraction[i] > '9' {
				return 0
			}
			q += int(fraction[i]-'0') * unit
		}
		if q > 1000 {
			return 0
		}
		return q
	}
	return 1000
}
