package stackfile

import (
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// didYouMean returns `; did you mean "x"?` for the candidate that word was most likely
// meant to be, or nothing. Candidates must be what is legal at the place.
func didYouMean(word string, candidates []string) string {
	if len(word) > longestWord {
		return ""
	}
	best, distance := "", len(word)/3+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(c))
		if squeeze(word) == squeeze(c) {
			d = 0 // max-size and maxSize for max_size
		}
		if a, b := parts(word), parts(c); len(a) > 1 && slices.Equal(a, b) {
			d = 0 // basic_auth for auth_basic
		}
		if d < distance || d == distance && best == "" {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return `; did you mean "` + best + `"?`
}

// longestWord is the longest that is looked at for a misspelling.
const longestWord = 64

// parts returns the words that a name is made of, sorted.
func parts(name string) []string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '-' || r == '_' || r == ' ' })
	slices.Sort(words)
	return words
}

// squeeze leaves the letters and digits of a name, in lower case.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// oneOf joins words as a sentence does: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
