package routing

// State is what has become of what is declared.
type State string

// States.
const (
	Live    State = "live"    // every connected Envoy serves it
	Pending State = "pending" // they have not said yet, or none is connected
	Refused State = "refused" // it has faults, or an Envoy has refused it
)

// Standing is what has become of all that is declared.
type Standing struct {
	State   State
	Message string // of what is refused: why, in Envoy's own words where those are known
	// Version is that of the config put by the API which this control has taken; 0: none.
	Version int
	Sources []SourceStatus
}
