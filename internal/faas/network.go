package faas

// Network is what the worker of a function reaches beside its host.
type Network string

// The networks of the wire contract, where NoNetwork is "none".
const (
	NoNetwork Network = ""
	Egress    Network = "egress" // public hosts, through the egress proxy
)

// ParseNetwork reads a network as the wire contract has it.
func ParseNetwork(text string) (Network, bool) {
	switch text {
	case "none":
		return NoNetwork, true
	case string(Egress):
		return Egress, true
	}
	return NoNetwork, false
}

// String is the network as the wire contract has it.
func (n Network) String() string {
	if n == NoNetwork {
		return "none"
	}
	return string(n)
}
