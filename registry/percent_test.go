package registry_test

import (
	"testing"

	"github.com/stackd/stackd/registry"
)

func TestParsePercent(t *testing.T) {
	const must = "it must be a percentage such as 5%"
	for _, test := range []struct {
		text string
		want registry.Percent
		as   string // what String writes
		err  string
	}{
		{text: "0%", want: 0, as: "0%"},
		{text: "5%", want: 5, as: "5%"},
		{text: "0.5%", want: 0.5, as: "0.5%"},
		{text: "12.50%", want: 12.5, as: "12.5%"},
		{text: "0.0000001%", want: 0.0000001, as: "0.0000001%"},
		{text: "100%", want: 100, as: "100%"},
		{text: "5", err: "it must have its sign, such as 5%"},
		{text: "0.05", err: "it must have its sign, such as 0.05%"},
		{text: "100.1%", err: "it must be at most 100%"},
		{text: "-5%", err: must},
		{text: "+5%", err: must},
		{text: "1e1%", err: must},
		{text: "5 %", err: must},
		{text: "5%%", err: must},
		{text: "%", err: must},
		{text: "", err: must},
		{text: ".%", err: must},
		{text: "NaN%", err: must},
		{text: "0x5%", err: must},
		{text: "five", err: must},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := registry.ParsePercent(test.text)
			switch {
			case test.err != "":
				if err == nil || err.Error() != test.err {
					t.Errorf("ParsePercent: got %v, %v; want the error %q", got, err, test.err)
				}
			case err != nil || got != test.want:
				t.Errorf("ParsePercent: got %v, %v; want %v", got, err, test.want)
			case got.String() != test.as:
				t.Errorf("String: got %q, want %q", got, test.as)
			}
		})
	}
}
