package markdown

import (
	"io/fs"
	"strings"
)

// overlay is a tree in which one file has another content.
type overlay struct {
	fs.FS
	name string
	text string
	info fs.FileInfo
}

// Open opens the file with its other content, or one of the tree's.
func (o *overlay) Open(name string) (fs.File, error) {
	if name != o.name {
		return o.FS.Open(name)
	}
	return &converted{Reader: strings.NewReader(o.text), FileInfo: o.info, size: int64(len(o.text))}, nil
}

// converted is the open file. It is its own FileInfo.
type converted struct {
	*strings.Reader
	fs.FileInfo
	size int64
}

func (c *converted) Stat() (fs.FileInfo, error) { return c, nil }

// Size is that of the content, which both parts of c have an opinion on.
func (c *converted) Size() int64 { return c.size }
func (*converted) Close() error  { return nil }
