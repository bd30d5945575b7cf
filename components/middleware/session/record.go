package session

import (
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
)

// record is a session as it is stored.
type record struct {
	began  time.Time // or got a new id
	used   time.Time // when it was last stored
	expiry time.Time // when the store may forget it
	values map[string]any
}

// live reports whether the session still counts for somebody with these limits.
func (rec *record) live(now time.Time, lifetime, idle time.Duration) bool {
	return now.Before(rec.began.Add(lifetime)) && (idle == 0 || now.Before(rec.used.Add(idle)))
}

// end returns when the session ends by these limits, if it isn't used after now.
func (rec *record) end(now time.Time, lifetime, idle time.Duration) time.Time {
	end := rec.began.Add(lifetime)
	if idle > 0 && now.Add(idle).Before(end) {
		return now.Add(idle)
	}
	return end
}

// use says that the session is used now. Its expiry is never moved back: others may have wider
// limits.
func (rec *record) use(now time.Time, lifetime, idle time.Duration) {
	rec.used = now
	if end := rec.end(now, lifetime, idle); end.After(rec.expiry) {
		rec.expiry = end
	}
}

// due reports whether a mere use is worth storing: a good part of the idle time has passed since the
// last one that was, or others with narrower limits have let the store forget it much too soon.
func (rec *record) due(now time.Time, lifetime, idle time.Duration) bool {
	part := max(idle/4, time.Second)
	return idle > 0 && now.Sub(rec.used) >= idle/4 || rec.end(now, lifetime, idle).Sub(rec.expiry) >= part
}

// The stored form is the version, used and expiry in microseconds since 1970, and began and the values
// as scs encodes them.
const (
	version   = 1
	headerLen = 1 + 8 + 8
)

func (rec *record) encode() (data []byte, err error) {
	defer func() {
		// gob panics where a value holds a nil pointer.
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("%v", p)
		}
	}()
	coded, err := scs.GobCodec{}.Encode(rec.began, rec.values)
	if err != nil {
		return nil, err
	}
	data = make([]byte, 0, headerLen+len(coded))
	data = append(data, version)
	data = binary.BigEndian.AppendUint64(data, uint64(rec.used.UnixMicro()))
	data = binary.BigEndian.AppendUint64(data, uint64(rec.expiry.UnixMicro()))
	return append(data, coded...), nil
}

func decode(data []byte) (rec record, err error) {
	if len(data) < headerLen || data[0] != version {
		return record{}, errors.New("it is not of this version's form")
	}
	rec.used = time.UnixMicro(int64(binary.BigEndian.Uint64(data[1:])))
	rec.expiry = time.UnixMicro(int64(binary.BigEndian.Uint64(data[9:])))
	if rec.began, rec.values, err = (scs.GobCodec{}).Decode(data[headerLen:]); err != nil {
		return record{}, err
	}
	if rec.values == nil {
		rec.values = make(map[string]any) // gob leaves out an empty one
	}
	return rec, nil
}

// encodable returns an error unless value can be stored.
func encodable(value any) error {
	switch value.(type) {
	case bool, string, []byte, int, int64, float64, time.Time: // what most are
		return nil
	}
	_, err := (&record{values: map[string]any{"": value}}).encode()
	return err
}

// registerTypes makes the types of values known to gob, which keeps them for the whole process. To do
// it again changes nothing.
func registerTypes() {
	register[bool]()
	register[string]()
	register[[]byte]()
	register[int]()
	register[int8]()
	register[int16]()
	register[int32]()
	register[int64]()
	register[uint]()
	register[uint8]()
	register[uint16]()
	register[uint32]()
	register[uint64]()
	register[float32]()
	register[float64]()
	register[time.Time]()
	register[time.Duration]()
	gob.Register([]any{})
	gob.Register(map[string]any{})
	gob.Register([]map[string]any{})
}

func register[T any]() {
	var zero T
	gob.Register(zero)
	gob.Register([]T{})
	gob.Register(map[string]T{})
	gob.Register(map[int]T{})
	gob.Register(map[string][]T{})
	gob.Register(map[int][]T{})
}
