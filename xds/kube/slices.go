package kube

import (
	"cmp"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ofService is the label by which a slice names its Service.
const ofService = "kubernetes.io/service-name"

// slice is what is read of an EndpointSlice.
type slice struct {
	metav1.ObjectMeta `json:"metadata"`

	AddressType string          `json:"addressType"`
	Endpoints   []sliceEndpoint `json:"endpoints"`
	Ports       []slicePort     `json:"ports"`
}

type sliceEndpoint struct {
	Addresses  []string `json:"addresses"`
	Conditions struct {
		Ready       *bool `json:"ready"`
		Serving     *bool `json:"serving"`
		Terminating *bool `json:"terminating"`
	} `json:"conditions"`
	TargetRef *struct {
		UID string `json:"uid"`
	} `json:"targetRef"`
	Zone *string `json:"zone"`
}

type slicePort struct {
	Name *string `json:"name"`
	Port *int32  `json:"port"`
}

// address is one place of a Service.
type address struct {
	at   netip.AddrPort
	pod  string // its UID, if it is a pod's
	zone string // empty: nobody knows
	// draining: it ends the requests that it has, and gets no new ones.
	draining bool
}

// addresses are those of a Service's slices at the port that is called so, or at their only one;
// each once, in a fixed order. What is not ready is none of them, unless it drains: it is
// terminating and serves yet.
func addresses(all []slice, port string) []address {
	var found []address
	for _, s := range all {
		if s.AddressType != "IPv4" && s.AddressType != "IPv6" {
			continue // names are for others to resolve
		}
		number, ok := portOf(s.Ports, port)
		if !ok {
			continue
		}
		for _, e := range s.Endpoints {
			if a, ok := e.address(number); ok {
				found = append(found, a)
			}
		}
	}
	// While an address moves from one slice to another it is in both: it is fit for requests if
	// one of them says so.
	slices.SortFunc(found, func(a, b address) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(btoi(a.draining), btoi(b.draining)), cmp.Compare(a.pod, b.pod))
	})
	return slices.CompactFunc(found, func(a, b address) bool { return a.at == b.at })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func portOf(ports []slicePort, name string) (uint16, bool) {
	for _, p := range ports {
		named := p.Name != nil && *p.Name == name
		if p.Port != nil && *p.Port > 0 && *p.Port < 1<<16 && (named || len(ports) == 1) {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

func (e sliceEndpoint) address(port uint16) (a address, ok bool) {
	if len(e.Addresses) == 0 {
		return a, false
	}
	ip, err := netip.ParseAddr(e.Addresses[0]) // the API: the others are the same place
	if err != nil || ip.Zone() != "" {
		return a, false
	}
	c := e.Conditions
	// The API: where ready says nothing it is ready, and serving is then what ready is.
	ready := c.Ready == nil || *c.Ready
	serving := c.Serving == nil && ready || c.Serving != nil && *c.Serving
	terminating := c.Terminating != nil && *c.Terminating
	a = address{at: netip.AddrPortFrom(ip, port), draining: terminating}
	if e.TargetRef != nil {
		a.pod = e.TargetRef.UID
	}
	if e.Zone != nil {
		a.zone = *e.Zone
	}
	return a, ready && !terminating || serving && terminating
}

// slicesOf are the slices that a watch knows, by the Service that they are of.
func slicesOf(w *watch) map[string][]slice {
	all := map[string][]slice{}
	for _, u := range w.list() {
		if service := u.GetLabels()[ofService]; service != "" && u.GetDeletionTimestamp() == nil {
			all[service] = append(all[service], read[slice](u))
		}
	}
	return all
}
