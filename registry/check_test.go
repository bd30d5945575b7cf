package registry_test

import (
	"errors"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

// define returns the definition of a middleware with these defaults.
func define[C any](t *testing.T, defaults C) *registry.Definition {
	t.Helper()
	c := named[C, registry.Wrap]("probe")
	c.Default = defaults
	r, err := registry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r.All()[0]
}

// Settings with each rule on each form that it can stand on.
type (
	required struct {
		Text    string                      `yaml:"text" validate:"required"`
		Folder  registry.Path               `yaml:"folder" validate:"required"`
		Peer    registry.Address            `yaml:"peer" validate:"required"`
		Key     registry.Secret             `yaml:"key" validate:"required"`
		Store   registry.Ref[session.Store] `yaml:"store" validate:"required"`
		Names   []string                    `yaml:"names" validate:"required"`
		Headers map[string]string           `yaml:"headers" validate:"required"`
	}
	bounds struct {
		Count   int               `yaml:"count" validate:"min=1,max=9"`
		Long    int64             `yaml:"long" validate:"min=1,max=9"`
		Port    uint16            `yaml:"port" validate:"min=1,max=9"`
		Wide    uint32            `yaml:"wide" validate:"min=1,max=9"`
		Ratio   float64           `yaml:"ratio" validate:"min=0.5,max=1.5"`
		Text    string            `yaml:"text" validate:"min=1,max=3"`
		Timeout time.Duration     `yaml:"timeout" validate:"min=1s,max=90m"`
		Size    registry.Size     `yaml:"size" validate:"min=1024,max=1048576"`
		Names   []string          `yaml:"names" validate:"min=1,max=2"`
		Headers map[string]string `yaml:"headers" validate:"min=1,max=1"`
	}
	choices struct {
		Mode  string   `yaml:"mode" validate:"oneof=lax strict none"`
		Two   string   `yaml:"two" validate:"oneof=a b"`
		One   string   `yaml:"one" validate:"oneof=a"`
		Code  int      `yaml:"code" validate:"oneof=301 302"`
		Root  string   `yaml:"root" validate:"startswith=/"`
		Link  string   `yaml:"link" validate:"url"`
		Names []string `yaml:"names" validate:"unique"`
	}
	optional struct {
		Text  string           `yaml:"text" validate:"omitempty,min=3"`
		Link  string           `yaml:"link" validate:"omitempty,url"`
		Pause time.Duration    `yaml:"pause" validate:"omitempty,min=1s"`
		Count int              `yaml:"count" validate:"omitempty,min=5"`
		Peer  registry.Address `yaml:"peer" validate:"omitempty"`
		Root  registry.Path    `yaml:"root" validate:"omitempty"`
		Key   registry.Secret  `yaml:"key" validate:"omitempty"`
	}
	deep struct {
		Cookie struct {
			Name string `yaml:"name" validate:"required"`
		} `yaml:"cookie"`
		Names   []string        `yaml:"names" validate:"dive,min=2"`
		Headers map[string]int  `yaml:"headers" validate:"dive,max=9"`
		Users   []user          `yaml:"users" validate:"dive"`
		Groups  map[string]user `yaml:"groups" validate:"dive"`
	}
	user struct {
		Name  string        `yaml:"name" validate:"required"`
		Quota registry.Size `yaml:"quota" validate:"min=1024"`
	}
)

func TestCheck(t *testing.T) {
	type problems = map[string]string
	for _, test := range []struct {
		name string
		d    *registry.Definition
		want problems
	}{
		{"required, missing", define(t, required{}), problems{
			"text":    "is missing; it must be a text",
			"folder":  "is missing; it must be a path",
			"peer":    "is missing; it must be an address such as 127.0.0.1:8080 or unix:run/stackd.sock",
			"key":     "is missing; it must be a text",
			"store":   "is missing; it must be the name of a store, or a map with use: and the store's settings",
			"names":   "is missing; it must be a list",
			"headers": "is missing; it must be a map",
		}},
		{"required, given", define(t, required{
			Text: "x", Folder: "x", Peer: ":1", Key: registry.NewSecret("x"), Store: registry.Use[session.Store]("memory"),
			Names: []string{"x"}, Headers: map[string]string{"x": "y"},
		}), nil},
		{"too little", define(t, bounds{Headers: map[string]string{}}), problems{
			"count":   "is 0; it must be at least 1",
			"long":    "is 0; it must be at least 1",
			"port":    "is 0; it must be at least 1",
			"wide":    "is 0; it must be at least 1",
			"ratio":   "is 0; it must be at least 0.5",
			"text":    "has 0 characters; it must have at least 1",
			"timeout": "is 0s; it must be at least 1s",
			"size":    "is 0; it must be at least 1KiB",
			"names":   "has 0 entries; it must have at least 1",
			"headers": "has 0 entries; it must have at least 1",
		}},
		{"too much", define(t, bounds{
			10, 10, 10, 10, 2, "text", 2 * time.Hour, 2 << 20, []string{"a", "b", "c"}, map[string]string{"a": "", "b": ""},
		}), problems{
			"count":   "is 10; it must be at most 9",
			"long":    "is 10; it must be at most 9",
			"port":    "is 10; it must be at most 9",
			"wide":    "is 10; it must be at most 9",
			"ratio":   "is 2; it must be at most 1.5",
			"text":    "has 4 characters; it must have at most 3",
			"timeout": "is 2h; it must be at most 1h30m",
			"size":    "is 2MiB; it must be at most 1MiB",
			"names":   "has 3 entries; it must have at most 2",
			"headers": "has 2 entries; it must have at most 1",
		}},
		{"characters aren't bytes", define(t, bounds{
			1, 1, 1, 1, 1, "äöüß", time.Second, 1024, []string{"a"}, map[string]string{"a": ""},
		}), problems{"text": "has 4 characters; it must have at most 3"}},
		{"at the bounds", define(t, bounds{
			9, 9, 9, 9, 1.5, "äöü", 90 * time.Minute, 1 << 20, []string{"a", "b"}, map[string]string{"a": ""},
		}), nil},
		{"no choice", define(t, choices{"Lax", "c", "b", 404, "x", "x", []string{"a", "b", "a"}}), problems{
			"mode":  "is Lax; it must be lax, strict or none",
			"two":   "is c; it must be a or b",
			"one":   "is b; it must be a",
			"code":  "is 404; it must be 301 or 302",
			"root":  "is x; it must begin with /",
			"link":  "is x; it must be a URL such as https://example.org/",
			"names": "is [a, b, a]; it must have no entry twice",
		}},
		{"empty is no choice", define(t, choices{Two: "a", One: "a", Code: 301, Root: "/", Link: "https://example.org/"}), problems{
			"mode": `is ""; it must be lax, strict or none`,
		}},
		{"choices", define(t, choices{"lax", "a", "a", 302, "/x", "https://example.org/", []string{"a", "b"}}), nil},
		{"optional, empty", define(t, optional{}), nil},
		{"optional, wrong", define(t, optional{Text: "x", Link: "x", Pause: time.Millisecond, Count: 1}), problems{
			"text":  "has 1 character; it must have at least 3",
			"link":  "is x; it must be a URL such as https://example.org/",
			"pause": "is 1ms; it must be at least 1s",
			"count": "is 1; it must be at least 5",
		}},
		{"deep inside", define(t, deep{
			Names:   []string{"ok", "x"},
			Headers: map[string]int{"a.b": 10, "c": 1},
			Users:   []user{{"a", 1024}, {"", 10}},
			Groups:  map[string]user{".md": {"", 1 << 20}},
		}), problems{
			"cookie.name":      "is missing; it must be a text",
			"names[1]":         "has 1 character; it must have at least 2",
			"headers[a.b]":     "is 10; it must be at most 9",
			"users[1].name":    "is missing; it must be a text",
			"users[1].quota":   "is 10; it must be at least 1KiB",
			"groups[.md].name": "is missing; it must be a text",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got problems
			for _, e := range test.d.Check(test.d.Default()) {
				if got == nil {
					got = make(problems)
				}
				if before, twice := got[e.Setting]; twice {
					t.Errorf("Check: two findings for %s: %q and %q", e.Setting, before, e.Problem)
				}
				got[e.Setting] = e.Problem
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
}

// ruled has rules across fields.
type ruled struct {
	Min    int               `yaml:"min"`
	Max    int               `yaml:"max" validate:"max=100"`
	Cookie cookie            `yaml:"cookie"`
	List   []cookie          `yaml:"list"`
	Map    map[string]cookie `yaml:"map"`
}

func (r ruled) Validate() error {
	if r.Min > r.Max {
		return errors.Join(
			&registry.SettingError{Setting: "min", Problem: "is more than max; it must be at most that"},
			errors.New("min and max must be in order"),
		)
	}
	return nil
}

type cookie struct {
	SameSite string `yaml:"same_site"`
	Secure   bool   `yaml:"secure"`
}

func (c cookie) Validate() error {
	if c.SameSite == "none" && !c.Secure {
		return &registry.SettingError{Setting: "same_site", Problem: "is none; it must be lax or strict unless secure is set"}
	}
	return nil
}

func TestCheckCallsValidate(t *testing.T) {
	bad := cookie{SameSite: "none"}
	d := define(t, ruled{Min: 300, Max: 200, Cookie: bad, List: []cookie{{}, bad}, Map: map[string]cookie{"/a.b/": bad}})
	const same = "is none; it must be lax or strict unless secure is set"
	constraint := registry.SettingError{Setting: "max", Problem: "is 200; it must be at most 100"}
	want := []registry.SettingError{
		constraint,
		{Setting: "cookie.same_site", Problem: same},
		{Setting: "list[1].same_site", Problem: same},
		{Setting: "map[/a.b/].same_site", Problem: same},
		{Setting: "min", Problem: "is more than max; it must be at most that"},
		{Setting: "", Problem: "min and max must be in order"},
	}
	if diff := cmp.Diff(want, d.Check(d.Default())); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]registry.SettingError{constraint}, d.Constraints(d.Default())); diff != "" {
		t.Errorf("Constraints (-want +got):\n%s", diff)
	}
	if got, want := want[1].Error(), "cookie.same_site "+same; got != want {
		t.Errorf("Error: got %q, want %q", got, want)
	}
}

// forms has a setting of each form.
type forms struct {
	Bool     bool                        `yaml:"bool"`
	Int      int                         `yaml:"int"`
	Int64    int64                       `yaml:"int64"`
	Uint16   uint16                      `yaml:"uint16"`
	Uint32   uint32                      `yaml:"uint32"`
	Float    float64                     `yaml:"float"`
	String   string                      `yaml:"string"`
	Duration time.Duration               `yaml:"duration"`
	Size     registry.Size               `yaml:"size"`
	Percent  registry.Percent            `yaml:"percent"`
	Path     registry.Path               `yaml:"path"`
	Address  registry.Address            `yaml:"address"`
	Secret   registry.Secret             `yaml:"secret"`
	Ref      registry.Ref[session.Store] `yaml:"ref"`
	List     []string                    `yaml:"list"`
	Map      map[string]int              `yaml:"map"`
	Struct   single                      `yaml:"struct"`
}

type single struct {
	A int `yaml:"a"`
}

func TestType(t *testing.T) {
	d := define(t, forms{
		true, -1, 2, 3, 4, 1.5, "a text", 12 * time.Hour, 64 << 10, 2.5, "site", ":80", registry.NewSecret("tiger"),
		registry.Use[session.Store]("memory"),
		[]string{"a", "b: c"},
		map[string]int{"z": 1, "a": 2},
		single{7},
	})
	for _, test := range []struct {
		name string
		form registry.Form
		noun string
		text string
	}{
		{"bool", registry.FormBool, "true or false", "true"},
		{"int", registry.FormInt, "a whole number", "-1"},
		{"int64", registry.FormInt, "a whole number", "2"},
		{"uint16", registry.FormInt, "a whole number", "3"},
		{"uint32", registry.FormInt, "a whole number", "4"},
		{"float", registry.FormFloat, "a number", "1.5"},
		{"string", registry.FormString, "a text", "a text"},
		{"duration", registry.FormDuration, "a duration such as 30s, 5m or 12h", "12h"},
		{"size", registry.FormSize, "a size such as 4096, 64KiB or 10MB", "64KiB"},
		{"percent", registry.FormPercent, "a percentage such as 5%", "2.5%"},
		{"path", registry.FormPath, "a path", "site"},
		{"address", registry.FormAddress, "an address such as 127.0.0.1:8080 or unix:run/stackd.sock", ":80"},
		{"secret", registry.FormSecret, "a text", "[redacted]"},
		{"ref", registry.FormRef, "the name of a store, or a map with use: and the store's settings", "memory"},
		{"list", registry.FormList, "a list", `[a, "b: c"]`},
		{"map", registry.FormMap, "a map", "{a: 2, z: 1}"},
		{"struct", registry.FormStruct, "a map", "{a: 7}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := d.Settings.Field(test.name)
			if f == nil {
				t.Fatal("Field: got nil")
			}
			if f.Type.Form != test.form || f.Type.Noun() != test.noun {
				t.Errorf("got the form %d, %q; want %d, %q", f.Type.Form, f.Type.Noun(), test.form, test.noun)
			}
			if got := f.Type.Format(reflect.ValueOf(d.Default()).Elem().Field(f.Index)); got != test.text {
				t.Errorf("Format: got %q, want %q", got, test.text)
			}
		})
	}
	if d.Settings.Field("nobody") != nil {
		t.Error("Field(nobody): got one")
	}
	if kind := d.Settings.Field("ref").Type.Kind; kind != registry.KindStore {
		t.Errorf("the kind of a Ref: got %q, want store", kind)
	}
}

func TestFormatReadsBack(t *testing.T) {
	text := registry.Describe[struct {
		A string `yaml:"a"`
	}]().Field("a").Type
	for s, want := range map[string]string{
		"plain":      "plain",
		"two words":  "two words",
		"a/b.c":      "a/b.c",
		"":           `""`,
		" lead":      `" lead"`,
		"12":         `"12"`,
		"1e3":        `"1e3"`,
		"true":       `"true"`,
		"Off":        `"Off"`,
		"null":       `"null"`,
		"~":          `"~"`,
		"- item":     `"- item"`,
		"key: value": `"key: value"`,
		"key:":       `"key:"`,
		"a # b":      `"a # b"`,
		"[list]":     `"[list]"`,
		"line\nfeed": `"line\nfeed"`,
		`qu"ote`:     `"qu\"ote"`,
		"@at":        `"@at"`,
		"a:b":        "a:b",
	} {
		if got := text.Format(reflect.ValueOf(s)); got != want {
			t.Errorf("Format(%q): got %s, want %s", s, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	span := registry.Describe[struct {
		A time.Duration `yaml:"a"`
	}]().Field("a").Type
	for d, want := range map[time.Duration]string{
		0:                              "0s",
		30 * time.Second:               "30s",
		5 * time.Minute:                "5m",
		90 * time.Second:               "1m30s",
		12 * time.Hour:                 "12h",
		90 * time.Minute:               "1h30m",
		time.Hour + time.Second:        "1h0m1s",
		10 * time.Minute:               "10m",
		20 * time.Hour:                 "20h",
		1500 * time.Millisecond:        "1.5s",
		-time.Minute:                   "-1m",
		100*time.Hour + 10*time.Minute: "100h10m",
	} {
		got := span.Format(reflect.ValueOf(d))
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("Format(%d): got %s, which is %v, %v; want %s", d, got, back, err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	if got := caught(func() { registry.Describe[pointer]() }); got == nil {
		t.Error("Describe of settings with a pointer doesn't panic")
	}
	// What belongs to no component may use the stack file's own names.
	if got := registry.Describe[permitted]().Field("a"); got == nil || got.GoName != "A" {
		t.Errorf("Describe: got the field %+v", got)
	}
}

func TestRules(t *testing.T) {
	d := define(t, deep{})
	if diff := cmp.Diff([]registry.Rule{{Name: "min", Arg: "2"}}, d.Settings.Field("names").Type.ElemRules); diff != "" {
		t.Errorf("the rules of entries (-want +got):\n%s", diff)
	}
	name := d.Settings.Field("cookie").Type.Field("name")
	if diff := cmp.Diff([]registry.Rule{{Name: "required"}}, name.Rules); diff != "" {
		t.Errorf("the rules of cookie.name (-want +got):\n%s", diff)
	}
}

func TestCheckMode(t *testing.T) {
	for mode, good := range map[string]bool{"0660": true, "600": true, "777": true, "0": false, "": false, "rw": false, "0668": false, "10660": false, "-660": false} {
		t.Run(mode, func(t *testing.T) {
			err := registry.CheckMode("mode", mode)
			want := "mode is " + strconv.Quote(mode) + `; it must be an octal permission such as "0660"`
			if good != (err == nil) || err != nil && err.Error() != want {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
