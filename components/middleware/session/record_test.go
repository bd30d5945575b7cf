package session

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/session"
)

// plain is a type that gob isn't told of.
type plain struct{ A int }

func TestValues(t *testing.T) {
	registerTypes()
	at := time.Date(2024, 2, 29, 12, 0, 0, 123, time.UTC)
	values := []any{
		true, "text", "", "\x00\xff",
		[]byte{0, 1, 255},
		0, -1, math.MaxInt64, int8(1), int16(2), int32(3), int64(4), uint(5),
		uint8(6), uint16(7), uint32(8), uint64(math.MaxUint64), float32(1.5), math.Inf(1), at, time.Minute,
		[]bool{true, false},
		[]string{"a", ""},
		[]int{1, 2},
		[]float64{1.5},
		[][]byte{{1}, {2}},
		[]time.Time{at},
		[]any{1, "a", at},
		map[string]string{"a": "b"},
		map[string]int{"a": 1},
		map[int]string{1: "a"},
		map[string]time.Time{"a": at},
		map[string][]string{"a": {"b", "c"}},
		map[int][]byte{1: {2}},
		map[string]time.Duration{"a": time.Hour},
		map[string]any{"a": []any{map[string]any{"b": 1}, []string{"c"}, at}},
		[]map[string]any{{"a": 1}},
		map[string]any{"a": nil},
		[]any{nil, 1},
	}
	for _, value := range values {
		t.Run(fmt.Sprintf("%T %v", value, value), func(t *testing.T) {
			if err := encodable(value); err != nil {
				t.Fatalf("it can't be put in: %v", err)
			}
			began := time.Date(2020, 1, 1, 0, 0, 0, 1, time.UTC)
			want := record{began: began, used: began.Add(time.Hour + time.Microsecond), expiry: began.Add(2 * time.Hour)}
			want.used, want.expiry = want.used.Truncate(time.Microsecond), want.expiry.Truncate(time.Microsecond)
			want.values = map[string]any{"key": value, "": "other"}
			data, err := want.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What can't be stored is an error where it is put in, and leaves the session as it was.
func TestUnstorableValues(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"a type that gob doesn't know", plain{1}, "session.plain"},
		{"in a slice", []any{1, plain{1}}, "session.plain"},
		{"a channel", make(chan int), "chan int"},
		{"a function", func() {}, "func()"},
		{"a pointer to nothing", (*int)(nil), "nil pointer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := stackOf(t, settings(memoryStore(t)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := session.Key.Get(r)
				err := s.Set("bad key", tt.value)
				for _, want := range []string{`session value "bad key" is a `, tt.want} {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("the error %v doesn't say %q", err, want)
					}
				}
				keys, err := s.Keys()
				if len(keys) > 0 || err != nil {
					t.Errorf("it has the keys %q, %v", keys, err)
				}
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			if cookies := answered(w).Cookies(); len(cookies) > 0 {
				t.Errorf("it sets %v", cookies)
			}
		})
	}
}

// To put in nil is to delete.
func TestSetNil(t *testing.T) {
	h := stackOf(t, settings(memoryStore(t)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.Key.Get(r)
		err := errors.Join(s.Set("a", 1), s.Set("b", 1), s.Set("a", nil))
		keys, errKeys := s.Keys()
		if diff := cmp.Diff([]string{"b"}, keys); diff != "" || err != nil || errKeys != nil {
			t.Errorf("keys (-want +got):\n%s%v %v", diff, err, errKeys)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// A stored session that can't be read counts as none, is logged, and is left where it is.
func TestUnreadable(t *testing.T) {
	registerTypes()
	now := time.Now()
	good, err := (&record{began: now, used: now, expiry: now.Add(12 * time.Hour), values: map[string]any{"a": "1"}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	renamed, err := (&record{began: now, used: now, values: map[string]any{"a": time.Second}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		want string // of a
	}{
		{"whole", good, "1"},
		{"empty", nil, "<nil>"},
		{"short", good[:headerLen-1], "<nil>"},
		{"cut", good[:len(good)-3], "<nil>"},
		{"of another version", append([]byte{version + 1}, good[1:]...), "<nil>"},
		{"rubbish", bytes.Repeat([]byte{version, 2, 3}, 100), "<nil>"},
		{"with a type that is gone", bytes.ReplaceAll(renamed, []byte("time.Duration"), []byte("time.Durative")), "<nil>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			store, id := memoryStore(t), newID()
			if err := store.Commit(t.Context(), token(id), tt.data, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			table, err := registry.New(Component)
			if err != nil {
				t.Fatal(err)
			}
			cfg := settings(store)
			i, err := table.All()[0].Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			h := i.Product.(registry.Wrap)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				value, err := session.Key.Get(r).Get("a")
				if fmt.Sprint(value) != tt.want || err != nil {
					t.Errorf("a is %v, %v; want %s", value, err, tt.want)
				}
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Cookie", "session="+id)
			h.ServeHTTP(httptest.NewRecorder(), new(environ.Base).Open(r))
			if logged := strings.Contains(log.String(), "can't be read"); logged != (tt.want != "1") {
				t.Errorf("the log says %q", &log)
			}
			if strings.Contains(log.String(), id) || strings.Contains(log.String(), token(id)) {
				t.Errorf("the log gives the id away: %s", &log)
			}
			if data, found, err := store.Find(t.Context(), token(id)); !found || err != nil || !bytes.Equal(data, tt.data) {
				t.Errorf("afterwards the store has %v %q, %v", found, data, err)
			}
		})
	}
}

// Whatever a store hands out, it is a session or an error.
func FuzzDecode(f *testing.F) {
	registerTypes()
	for _, values := range []map[string]any{nil, {"a": 1}, {"a": map[string]any{"b": []any{time.Now(), "x"}}}} {
		data, err := (&record{began: time.Now(), values: values}).encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decode(data)
		if err == nil && rec.values == nil {
			t.Error("neither values nor an error")
		}
	})
}
