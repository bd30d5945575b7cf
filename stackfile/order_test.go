package stackfile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestManyOrders lays many overrides over each other in orders that their patterns leave open. Trying all of those
// would take for ever.
func TestManyOrders(t *testing.T) {
	const many = 16
	reg := mixRegistry(t)
	file := func(last int) string {
		var overrides []mixOverride
		for i := range many {
			segments := make([]string, many)
			for n := range segments {
				segments[n] = fmt.Sprintf("s%d", n)
			}
			segments[i] = "{x}"
			pattern, b := "/"+strings.Join(segments, "/"), "7"
			if i == many-1 {
				b = fmt.Sprint(last)
			}
			overrides = append(
				overrides,
				mixOverride{pattern: pattern, slots: map[string]any{"a": mix{"ref": mix{"use": "two", "a": "same"}}}},
				mixOverride{pattern: "GET " + pattern, slots: map[string]any{"a": mix{"ref": mix{"b": b}}}},
			)
		}
		return mixStack{slots: []mixSlot{{name: "a", use: "mwone"}, {name: "app", use: "appone"}}, overrides: overrides}.String()
	}
	plan, err := loadMix(t, reg, file(7))
	if err != nil {
		t.Fatalf("no order makes a difference, but\n%v", err)
	}
	path := strings.Repeat("/s%d", many)
	all := make([]any, many)
	for n := range all {
		all[n] = n
	}
	if got := settingsByName(plan.Explain("GET", "", fmt.Sprintf(path, all...)))["a.ref.b"].Value; got != "7" {
		t.Errorf("ref.b is %q; it must be 7", got)
	}
	if _, err = loadMix(t, reg, file(8)); err == nil || !strings.Contains(err.Error(), "ref.b is 8 here and 7 for") {
		t.Errorf("one of them says something else, but there is no conflict: %v", err)
	}
}

// TestOrders makes up overrides at random, and asks of two of them whether it matters which comes first.
func TestOrders(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 32))
	differing, shortened := 0, 0
	for range 400 {
		q := &question{numbers: make(map[string]int), levels: []level{{path: "a", names: []string{"one", "two"}}, {path: "ab", names: []string{"one", "two"}}}[:1+random.IntN(2)]}
		for range fewSteps + 1 + random.IntN(3) {
			s := step{names: make([]string, len(q.levels)), from: len(q.levels)}
			for i := range s.names {
				s.names[i] = []string{"", "", "one", "one", "two"}[random.IntN(5-random.IntN(2))]
			}
			if random.IntN(8) == 0 {
				s.from = random.IntN(len(q.levels))
			}
			if s.says = random.IntN(3) == 0; s.says {
				s.value = random.IntN(3)
			}
			var before uint64
			for i, earlier := range q.before {
				if random.IntN(4) == 0 {
					before |= 1<<i | earlier
				}
			}
			q.steps, q.before = append(q.steps, s), append(q.before, before)
		}
		e := &effects{}
		e.final(q)
		o := orders{question: q, first: len(q.steps) - 2, second: len(q.steps) - 1, tried: new(int), known: make(map[progress]bool)}
		q.before[o.second] &^= 1 << o.first
		for _, base := range q.first() {
			start := q.number(base)
			clear(o.known)
			if got, want := o.differ(progress{0, start, start}), differs(q, o.first, o.second, 0, base, base, map[string]bool{}); got != want {
				t.Fatalf("whether the last two of %+v make a difference is said to be %t, from %v on, when each stands behind %b", q.steps, got, base, q.before)
			} else if got {
				differing++
			}
			if o.anywhere(progress{0, start, start}) >= 0 {
				shortened++
			}
		}
	}
	if differing < 100 || shortened < 100 {
		t.Errorf("%d make a difference and %d needn't be tried everywhere; the test must see more", differing, shortened)
	}
}

// differs is the model of [orders]: it tries all orders.
func differs(q *question, first, second int, done uint64, one, two standing, known map[string]bool) bool {
	key := fmt.Sprint(done, one, two)
	if known[key] {
		return false
	}
	known[key] = true
	if done == 1<<len(q.steps)-1 {
		return one.value != two.value
	}
	if both := uint64(1)<<first | 1<<second; done&both == 0 && (q.before[first]|q.before[second])&^done == 0 &&
		differs(q, first, second, done|both, q.lay(q.lay(one, q.steps[first]), q.steps[second]), q.lay(q.lay(two, q.steps[second]), q.steps[first]), known) {
		return true
	}
	for i, s := range q.steps {
		if i != first && i != second && done>>i&1 == 0 && q.before[i]&^done == 0 && differs(q, first, second, done|1<<i, q.lay(one, s), q.lay(two, s), known) {
			return true
		}
	}
	return false
}
