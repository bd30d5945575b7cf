package stackfile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
)

// Files are a stack file and the files that it is made of, as they were when it was loaded: those that it extends,
// includes and mounts, and what ${file:path} stands for. A load of them comes to the same plan, whatever has become
// of the files on disk since. Files that components read are not among them.
type Files struct {
	read    map[string][]byte
	folders map[string][]string // the files in a folder
	stacks  []string            // those of read that are stack files, in the order in which they were read
}

func newFiles() *Files {
	return &Files{read: make(map[string][]byte), folders: make(map[string][]string)}
}

// filesText is what Files are written as.
type filesText struct {
	Read    map[string][]byte   `json:"read"`
	Folders map[string][]string `json:"folders"`
	Stacks  []string            `json:"stacks"`
}

// MarshalJSON implements [json.Marshaler], to give the files to another process.
func (f *Files) MarshalJSON() ([]byte, error) {
	return json.Marshal(filesText{f.read, f.folders, f.stacks})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (f *Files) UnmarshalJSON(text []byte) error {
	var t filesText
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	*f = Files{t.Read, t.Folders, t.Stacks}
	return nil
}

// Hash returns the SHA-256 of the stack files, one behind the other, in hexadecimal digits.
func (f *Files) Hash() string {
	h := sha256.New()
	for _, path := range f.stacks {
		h.Write(f.read[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Size returns how many bytes the files have.
func (f *Files) Size() (size int) {
	for _, data := range f.read {
		size += len(data)
	}
	return size
}

// Files returns what the plan was made of.
func (p *Plan) Files() *Files { return p.files }

// disk is what a load reads: the files as they are, or as they were.
type disk struct {
	were *Files // nil for those on disk
	now  *Files // what was read so far
	// had is what was read already, and isn't read again.
	had map[string][]byte
	// unsaved is [Options].Unsaved.
	unsaved func(path string) (text []byte, ok bool)
}

// read returns what a file has in it, which is read by the function.
func (d *disk) read(path string, by func(string) ([]byte, error)) ([]byte, error) {
	var data []byte
	var err error
	known, ok := d.had[path]
	if !ok && d.unsaved != nil {
		known, ok = d.unsaved(path)
	}
	if !ok && d.were != nil {
		known, ok = d.were.read[path]
	}
	switch {
	case ok:
		data = known
	case d.were == nil:
		data, err = by(path)
	default:
		err = fs.ErrNotExist
	}
	if err == nil {
		d.now.read[path] = data
	}
	return data, err
}

// folder returns the names of the files in a folder, in order.
func (d *disk) folder(path string) (names []string, err error) {
	if d.were != nil {
		names = d.were.folders[path]
	} else {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	d.now.folders[path] = names
	return names, nil
}
