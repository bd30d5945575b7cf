package stackfile

import "slices"

// origins are where the settings of an instance were written, by path within the component. Most instances have few,
// and a large stack has many instances.
type origins struct {
	few []origin
	// many takes the place of few when that would be long to look through.
	many map[string]*node
}

type origin struct {
	path string
	node *node
}

const fewOrigins = 8

// at returns where a setting was written, or nil.
func (o *origins) at(path string) *node {
	if o.many != nil {
		return o.many[path]
	}
	for _, known := range o.few {
		if known.path == path {
			return known.node
		}
	}
	return nil
}

func (o *origins) set(path string, n *node) {
	if o.many == nil {
		if i := slices.IndexFunc(o.few, func(known origin) bool { return known.path == path }); i >= 0 {
			o.few[i].node = n
			return
		}
		if len(o.few) < fewOrigins {
			o.few = append(o.few, origin{path, n})
			return
		}
		o.many = make(map[string]*node, 2*fewOrigins)
		for _, known := range o.few {
			o.many[known.path] = known.node
		}
		o.few = nil
	}
	o.many[path] = n
}

// paths returns the settings that were written, in order.
func (o *origins) paths() []string {
	var all []string
	for path := range o.many {
		all = append(all, path)
	}
	for _, known := range o.few {
		all = append(all, known.path)
	}
	slices.Sort(all)
	return all
}
