package environ

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClaim(t *testing.T) {
	for _, test := range []struct {
		name       string
		have, want []string
	}{
		{"none", nil, nil},
		{"others", []string{"keep-alive", "X-Users"}, []string{"keep-alive", "X-Users"}},
		{"alone", []string{"x-user"}, []string{""}},
		{"among others", []string{"close, X-User ,upgrade"}, []string{"close,upgrade"}},
		{"more than once", []string{"X-User,\tX-USER", "close", "X-User, te"}, []string{"", "close", "te"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{"X-User": {"ada"}}
			if test.have != nil {
				h["Connection"] = test.have
			}
			shared := h.Clone()
			theirs := h["Connection"]
			Claim(h, "X-User")
			if diff := cmp.Diff(test.want, h["Connection"]); diff != "" {
				t.Errorf("Connection (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(shared["Connection"], theirs); diff != "" {
				t.Errorf("the list that others have was changed (-want +got):\n%s", diff)
			}
		})
	}
}
