package webkit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// What Python's marshal writes, as far as adapters send it: a text is a string, and numbers are only passed over.
type (
	none   struct{}
	number struct{}
	dict   []entry
)

// entry is a key of a dictionary and its value: a string, none, number or dict.
type entry struct {
	key   string
	value any
}

// deepest is how deep dictionaries may lie within each other: environ lies within a request.
const deepest = 2

// unmarshal reads a dictionary that marshal wrote, and nothing behind it. With its references written out it may have
// so many bytes.
func unmarshal(text []byte, most int) (dict, error) {
	d := decoder{text: text, most: most, room: most - len(text)}
	value, err := d.value(1)
	if err != nil {
		return nil, err
	}
	whole, ok := value.(dict)
	switch {
	case !ok:
		return nil, errors.New("it must be a dictionary")
	case len(d.text) > 0:
		return nil, fmt.Errorf("%d bytes stand behind it; there must be none", len(d.text))
	}
	return whole, nil
}

// decoder is what is left to read.
type decoder struct {
	text     []byte
	interned []string // what a reference may mean
	most     int      // how long all of it may be with its references written out
	room     int      // how much of that is left for them
}

// errEnd says that something goes on behind the end.
var errEnd = errors.New("it ends too early")

// end is the value that ends a dictionary.
type end struct{}

// value reads a value. Depth is how many dictionaries there are around it, itself included.
func (d *decoder) value(depth int) (any, error) {
	code, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch code[0] {
	case '0':
		return end{}, nil
	case 'N':
		return none{}, nil
	case 'i':
		_, err := d.take(4)
		return number{}, err
	case 'I', 'g':
		_, err := d.take(8)
		return number{}, err
	case 'f':
		n, err := d.take(1)
		if err == nil {
			_, err = d.take(int(n[0]))
		}
		return number{}, err
	case 's':
		return d.string()
	case 't':
		text, err := d.string()
		d.interned = append(d.interned, text)
		return text, err
	case 'R':
		b, err := d.take(4)
		if err != nil {
			return nil, err
		}
		n := binary.LittleEndian.Uint32(b)
		if int64(n) >= int64(len(d.interned)) {
			return nil, errors.New("it refers to a text that hasn't come")
		}
		if d.room -= len(d.interned[n]); d.room < 0 {
			return nil, fmt.Errorf("it is longer than max_header, %d bytes, with its references written out", d.most)
		}
		return d.interned[n], nil
	case 'u':
		text, err := d.string()
		if !utf8.ValidString(text) {
			return nil, fmt.Errorf("%.100q isn't UTF-8; it must be", text)
		}
		return text, err
	case '{':
		if depth > deepest {
			return nil, errors.New("a dictionary lies where there can be none")
		}
		return d.dict(depth)
	}
	return nil, fmt.Errorf("there is a value of type %q in it; it must be made of texts, numbers, None and dictionaries", code)
}

// dict reads keys and values up to their end.
func (d *decoder) dict(depth int) (dict, error) {
	entries := make(dict, 0, 32)
	for {
		key, err := d.value(deepest + 1) // a dictionary can't be one
		if err != nil {
			return nil, err
		}
		if _, ended := key.(end); ended {
			return entries, nil
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("a key isn't a text; it must be")
		}
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, ended := value.(end); ended {
			return nil, fmt.Errorf("%.100q has no value", name)
		}
		entries = append(entries, entry{name, value})
	}
}

// string reads a text, before which its length stands.
func (d *decoder) string() (string, error) {
	b, err := d.take(4)
	if err != nil {
		return "", err
	}
	n := binary.LittleEndian.Uint32(b)
	text, err := d.take(int(min(n, 1<<31-1))) // the end comes before that
	return string(text), err
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.text) {
		return nil, errEnd
	}
	taken := d.text[:n]
	d.text = d.text[n:]
	return taken, nil
}
