package routing

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// place is where something is in a declaration, such as routes[2].name; nil is all of it. It
// is written out for faults only, since there are many more places than those.
type place struct {
	up    *place
	name  string // of a field; empty: index counts
	index int
}

func (p *place) field(name string) *place { return &place{up: p, name: name} }
func (p *place) item(index int) *place    { return &place{up: p, index: index} }

func (p *place) String() string {
	if p == nil {
		return ""
	}
	above := p.up.String()
	switch {
	case p.name == "":
		return above + "[" + strconv.Itoa(p.index) + "]"
	case above == "":
		return p.name
	}
	return above + "." + p.name
}

// node finds what is written at the place, or else what is around it.
func (p *place) node(root *yaml.Node) *yaml.Node {
	if p == nil || root == nil {
		return root
	}
	around := behind(p.up.node(root))
	switch {
	case around.Kind == yaml.SequenceNode && p.name == "" && p.index < len(around.Content):
		return around.Content[p.index]
	case around.Kind == yaml.MappingNode && p.name != "":
		for i := 0; i+1 < len(around.Content); i += 2 {
			if around.Content[i].Value == p.name {
				return around.Content[i+1]
			}
		}
	}
	return around
}

// behind is what an alias of YAML stands for.
func behind(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
