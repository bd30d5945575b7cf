package registry

import (
	"errors"
	"strconv"
	"strings"
)

// Percent is a share in hundredths, written 5% or 0.5%: from 0% to 100%, and never without the sign.
type Percent float64

// ParsePercent reads a Percent.
func ParsePercent(s string) (Percent, error) {
	number, signed := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || strings.Trim(number, "0123456789.") != "":
		return 0, errors.New("it must be " + (&Type{Form: FormPercent}).Noun())
	case !signed:
		return 0, errors.New("it must have its sign, such as " + number + "%")
	case f > 100:
		return 0, errors.New("it must be at most 100%")
	}
	return Percent(f), nil
}

// String writes it with its sign.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }
