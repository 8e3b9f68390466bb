package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// item is one resource, with what is to be known of it without looking at it again: its
// version, which is a hash of its content, and the names that it uses of others. It is
// immutable, so that snapshots share what did not change.
type item struct {
	typeURL  string
	name     string
	version  string
	digest   uint64 // of the name and the version
	resource types.Resource
	uses     []reference
}

// reference is the name of a resource that another one uses.
type reference struct{ typeURL, name string }

// newItem checks a resource by the rules of its own proto.
func newItem(typeURL, name string, resource types.Resource) (*item, error) {
	used, err := usedBy(resource)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", short(typeURL), name, err)
	}
	raw, err := cache.MarshalResource(resource)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", short(typeURL), name, err)
	}
	sum := sha256.Sum256(raw)
	i := &item{typeURL: typeURL, name: name, version: hex.EncodeToString(sum[:]), resource: resource, uses: used}
	named := sha256.Sum256([]byte(name + " " + i.version))
	i.digest = binary.BigEndian.Uint64(named[:])
	return i, nil
}

func (i *item) reference() reference { return reference{i.typeURL, i.name} }
