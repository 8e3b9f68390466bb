package bench

import (
	"slices"
	"time"
)

// How long what has no duration of its own usually takes, on two cores that do nothing
// else.
const (
	usualStart   = 25 * time.Second       // until all servers run and rest
	usualSettle  = 250 * time.Millisecond // after a measurement, or a warm-up
	usualOneShot = 250 * time.Millisecond // and until the pool of workers is full again
	usualBurst   = 5 * time.Second
	usualFilled  = 25 * time.Second // of 200 workers of each language
	usualMany    = 90 * time.Second // of a thousand functions
	usualState   = 65 * time.Second
	usualBuild   = 600 * time.Millisecond
)

// Planned is about how long a run takes.
func Planned(config Config) time.Duration {
	took := usualStart
	for _, c := range wantedCases(config) {
		if c.Cold {
			took += time.Duration(config.coldRounds()*config.ColdStarts) * usualOneShot
			if c.Most > 0 {
				took += usualBurst
			}
			continue
		}
		if c.Build {
			took += (1 + buildRounds) * usualBuild
			continue
		}
		took += config.WarmUp + usualSettle
		for _, load := range config.loads() {
			took += time.Duration(roundsOf(config.Rounds, load.Every)) * (load.Duration + usualSettle)
		}
	}
	if slices.ContainsFunc(wantedCases(config), func(c Case) bool { return c.Cold && c.Most > 0 }) {
		took += usualFilled
	}
	if slices.Contains(config.Parts, StatePart) && config.Envoke != "" {
		took += usualState
	}
	if slices.Contains(config.Parts, Many) && config.Envoke != "" {
		took += usualMany
	}
	return took
}

// roundsOf is how many of the rounds measure what is measured in every so many.
func roundsOf(rounds, every int) int { return (rounds + every - 1) / every }
