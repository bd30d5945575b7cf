package graph

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/inspect"
)

func settings(lines ...string) []inspect.Setting {
	var all []inspect.Setting
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		all = append(all, inspect.Setting{Name: name, Value: value})
	}
	return all
}

func override(pattern string, within []string, vars []inspect.Setting, slots ...inspect.Change) inspect.Override {
	return inspect.Override{Pattern: inspect.Pattern{Pattern: pattern}, Within: within, Vars: vars, Slots: slots}
}

// site has one of everything.
func site() inspect.Outline {
	return inspect.Outline{
		File: "some/where/stack.yaml", Servers: []inspect.Server{{Component: "http", Addresses: []string{":80", ":443"}}},
		Vars: settings("theme: light"),
		Slots: []inspect.Slot{
			{Name: "errors", Component: "errors", Kind: "middleware", On: true},
			{Name: "login", Component: "auth_basic", Kind: "middleware", Settings: settings("realm: a & b")},
			{Name: "session", Component: "session", Kind: "middleware", On: true, Settings: settings("lifetime: 12h")},
			{Name: "finder", Component: "finder", Kind: "app", On: true},
		},
		Overrides: []inspect.Override{
			override("/admin/", nil, settings("theme: dark"), inspect.Change{Slot: "login", Switch: "on"}, inspect.Change{Slot: "session", Settings: settings("lifetime: 15m", "store: sqlite")}),
			override("/static/", nil, nil, inspect.Change{Slot: "session", Switch: "off"}),
			override(`GET /"<x>"/`, nil, nil, inspect.Change{Slot: "finder", Use: "proxy", Settings: settings("to: there")}),
			override("/admin/users/", []string{"/admin/"}, nil, inspect.Change{Slot: "session", Settings: settings("lifetime: 1m")}),
		},
	}
}

const mermaid = `flowchart TB
  server0(["http :80 :443"]):::server
  requests(["stack.yaml"]):::server
  slot0["vars<br>theme: light"]:::slot
  slot1["errors"]:::slot
  slot2["login · auth_basic<br>realm: a #amp; b"]:::off
  slot3["session<br>lifetime: 12h"]:::slot
  slot4["finder"]:::app
  branch1_0("vars<br>theme: dark"):::branch
  branch1_3("session<br>lifetime: 15m<br>store: sqlite"):::branch
  branch2_3("session<br>store: sqlite<br>lifetime: 1m"):::branch
  branch4_4("finder<br>→ proxy<br>to: there"):::branch
  server0 --> requests
  requests --> slot0
  slot0 --> slot1
  slot1 --> slot3
  slot3 --> slot4
  requests -->|"/admin/"| branch1_0
  branch1_0 --> slot1
  slot1 -->|"/admin/"| slot2
  slot2 --> slot3
  slot1 -->|"/admin/"| branch1_3
  branch1_3 --> slot4
  slot1 -->|"/admin/users/"| branch2_3
  branch2_3 --> slot4
  slot1 -.->|"/static/"| slot4
  slot3 -->|"GET /#quot;#lt;x#gt;#quot;/"| branch4_4
  classDef off stroke-dasharray: 5 4
  classDef app stroke-width: 3px
  classDef branch stroke-width: 2px
`

func TestMermaid(t *testing.T) {
	if diff := cmp.Diff(mermaid, string(Mermaid(site()))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDOT(t *testing.T) {
	got := string(DOT(site()))
	for _, want := range []string{
		"digraph stack {\n", `server0 [label="http :80 :443", shape=oval];`, `slot2 [label="login · auth_basic\nrealm: a & b", style="rounded,dashed"];`,
		`slot1 -> slot4 [label="/static/", style=dashed];`, `slot3 -> branch4_4 [label="GET /\"<x>\"/"];`, "\n}\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
}

// element is an element of a picture.
type element struct {
	name, class      string
	x, y, wide, high float64
	text             string
}

// elements reads a picture, which must be well-formed.
func elements(t *testing.T, svg []byte) []element {
	t.Helper()
	var all []element
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("the picture isn't well-formed: %v\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local}
			for _, a := range token.Attr {
				n, _ := strconv.ParseFloat(a.Value, 64)
				switch a.Name.Local {
				case "class":
					e.class = a.Value
				case "x":
					e.x = n
				case "y":
					e.y = n
				case "width":
					e.wide = n
				case "height":
					e.high = n
				}
			}
			all = append(all, e)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += string(token)
			}
		}
	}
}

func TestSVG(t *testing.T) {
	svg := SVG(site())
	if again := SVG(site()); !bytes.Equal(svg, again) {
		t.Error("the same outline gives another picture")
	}
	texts := map[string]int{}
	for _, e := range elements(t, svg) {
		texts[strings.TrimSpace(e.text)]++
	}
	for text, times := range map[string]int{
		"The stack of stack.yaml": 1, "http :80 :443": 1, "other URLs": 1, "/admin/": 1, "/admin/users/": 1, "/static/": 1, `GET /"<x>"/`: 1, "login · auth_basic": 1, "realm: a & b": 1,
		"theme: dark": 2, "lifetime: 15m": 1, "lifetime: 1m": 1, "store: sqlite": 2, "on": 2, "off": 4, "→ proxy": 1, "to: there": 1,
	} {
		if texts[text] != times {
			t.Errorf("%q stands there %d times; want %d in\n%s", text, texts[text], times, svg)
		}
	}
	if strings.Contains(string(svg), "href") || strings.Contains(string(svg), "<script") {
		t.Error("the picture refers to something outside of it")
	}
	if !strings.Contains(string(svg), "prefers-color-scheme: dark") {
		t.Error("there is nothing for dark pages")
	}
}

// TestRoom draws outlines made at random: nothing leaves the picture, and no two labels or changes cover each other.
func TestRoom(t *testing.T) {
	random := rand.New(rand.NewPCG(41, 42))
	word := func() string { return strings.Repeat("wide ü<", random.IntN(7)) + strconv.Itoa(random.IntN(100)) }
	lines := func() (all []inspect.Setting) {
		for range random.IntN(8) {
			all = append(all, inspect.Setting{Name: word(), Value: word()})
		}
		return all
	}
	for range 100 {
		o := inspect.Outline{File: word(), Vars: lines()}
		for range random.IntN(4) {
			o.Servers = append(o.Servers, inspect.Server{Component: "http", Addresses: []string{word()}})
		}
		for n := range 1 + random.IntN(6) {
			o.Slots = append(o.Slots, inspect.Slot{Name: fmt.Sprint("slot", n), Component: word(), Kind: "middleware", On: random.IntN(3) > 0, Settings: lines()})
		}
		o.Slots[len(o.Slots)-1].Kind = "app"
		for n := range random.IntN(2 * most) {
			over := override(fmt.Sprint("/", n, word()), nil, lines())
			if n > 0 && random.IntN(2) == 0 {
				outer := o.Overrides[random.IntN(n)]
				over.Within = append(append(over.Within, outer.Within...), outer.Pattern.Pattern)
			}
			for _, s := range o.Slots {
				if random.IntN(3) == 0 {
					over.Slots = append(over.Slots, inspect.Change{Slot: s.Name, Switch: []string{"", "on", "off"}[random.IntN(3)], Use: []string{"", word()}[random.IntN(2)], Settings: lines()})
				}
			}
			o.Overrides = append(o.Overrides, over)
		}
		all := elements(t, SVG(o))
		page := all[0]
		var boxes []element
		for _, e := range all[1:] {
			if e.name != "rect" || e.class == "page" {
				continue
			}
			if e.x < 0 || e.y < 0 || e.x+e.wide > page.wide+0.1 || e.y+e.high > page.high+0.1 {
				t.Fatalf("%+v leaves the picture of %.0f by %.0f", e, page.wide, page.high)
			}
			if strings.HasPrefix(e.class, "slab") {
				continue
			}
			for _, other := range boxes {
				if e.x < other.x+other.wide-0.1 && other.x < e.x+e.wide-0.1 && e.y < other.y+other.high-0.1 && other.y < e.y+e.high-0.1 {
					t.Fatalf("%+v covers %+v", e, other)
				}
			}
			boxes = append(boxes, e)
		}
		if n := len(o.Overrides) - most; n > 0 && !strings.Contains(fmt.Sprint(all), fmt.Sprintf("and %d overrides more", n)) {
			t.Errorf("%d overrides are left out, and nothing says so", n)
		}
	}
}
