package stackfile

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// didYouMean returns `; did you mean "x"?` for the candidate that word was most likely
// meant to be, or nothing. Candidates must be what is legal at the place.
func didYouMean(word string, candidates []string) string {
	best, distance := "", len(word)/3+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(c))
		if squeeze(word) == squeeze(c) {
			d = 0 // max-size and maxSize for max_size
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

func squeeze(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(s))
}

// oneOf joins words as a sentence does: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
