//go:build !race

package stackfile

const underRace = false
