package stackfile

import (
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// DidYouMean returns `; did you mean "x"?` for the candidate that word was most likely
// meant to be, or nothing. Candidates must be what is legal at the place.
func DidYouMean(word string, candidates []string) string {
	if len(word) > longestWord {
		return ""
	}
	best, distance := "", 0
	squeezed, words, sorted := squeeze(word), parts(word), letters(word)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(c))
		switch {
		case d == 0:
		case squeezed == squeeze(c), // max-size and maxSize for max_size
			len(words) > 1 && slices.Equal(words, parts(c)): // basic_auth for auth_basic
			d = 0
		case len(word) == len(c) && sorted == letters(c), // sotre for store
			strings.HasPrefix(word, c+"_"), strings.HasPrefix(c, word+"_"): // path_name for path
			d = 1
		}
		if most := max(1, (min(len(word), len(c))+1)/3); d <= most && (best == "" || d < distance) {
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

// letters returns the letters of a name, sorted.
func letters(s string) string {
	sorted := []rune(squeeze(s))
	slices.Sort(sorted)
	return string(sorted)
}

// oneOf joins words as a sentence does: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
