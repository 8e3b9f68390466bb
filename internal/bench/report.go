package bench

import (
	"math"
	"slices"
	"time"
)

// Report is what a run found out.
type Report struct {
	StartedAt time.Time `json:"started_at"`
	Machine   Machine   `json:"machine"`
	Settings  Settings  `json:"settings"`
	Missing   []Missing `json:"missing,omitempty"`
	Results   []Result  `json:"results"`
	Ratios    []Ratio   `json:"ratios"`

	Differences []Difference `json:"differences"`
	Bursts      []Burst      `json:"bursts,omitempty"`
	State       *State       `json:"state,omitempty"`
	Density     *Density     `json:"density,omitempty"`
	Memory      []Memory     `json:"memory"`
}

// Settings are what a reader of a report needs to know of the Config.
type Settings struct {
	Rounds           int     `json:"rounds"`
	Seconds          float64 `json:"seconds"` // of one measurement
	OpenSeconds      float64 `json:"open_loop_seconds"`
	Rate             float64 `json:"open_loop_rate"`
	EnvoyConcurrency int     `json:"envoy_concurrency"`
	Parts            []Part  `json:"parts"`
}

// Round is one measurement.
type Round struct {
	Requests          int              `json:"requests"`
	RequestsPerSecond float64          `json:"requests_per_second"`
	P50               float64          `json:"p50_ms"`
	P99               float64          `json:"p99_ms"`
	CPU               map[Role]float64 `json:"cpu_us_per_request"`
}

// served is the CPU time of a request in all processes but the load generator, in
// µs: what the machine that serves it pays.
func (r Round) served() float64 {
	var sum float64
	for role, us := range r.CPU {
		if role != Client {
			sum += us
		}
	}
	return sum
}

func (r Round) throughput() float64 { return r.RequestsPerSecond }

func newRound(o outcome, spent map[Role]time.Duration) Round {
	r := Round{
		Requests:          len(o.sorted),
		RequestsPerSecond: o.requestsPerSecond(),
		P50:               milliseconds(percentile(o.sorted, 0.50)),
		P99:               milliseconds(percentile(o.sorted, 0.99)),
		CPU:               make(map[Role]float64, len(spent)),
	}
	for role, t := range spent {
		if len(o.sorted) > 0 {
			r.CPU[role] = float64(t.Microseconds()) / float64(len(o.sorted))
		}
	}
	return r
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// leastSamples is how many latencies P999 needs: of fewer it would be the greatest one.
const leastSamples = 1000

// Result is a case under a load: each figure's spread over the rounds.
type Result struct {
	Case              string `json:"case"`
	Name              string `json:"name"`
	Load              string `json:"load"`
	RequestsPerSecond Spread `json:"requests_per_second"`
	P50               Spread `json:"p50_ms"`
	P99               Spread `json:"p99_ms"`
	// P999 is of the latencies of all rounds together; 0 where they are fewer than
	// leastSamples.
	P999    float64         `json:"p999_ms,omitempty"`
	Samples int             `json:"samples"`
	CPU     map[Role]Spread `json:"cpu_us_per_request"`
	Served  Spread          `json:"served_cpu_us_per_request"` // without the client
	// Most is the greatest median of P50 that the design asks for; 0 where it asks for none.
	Most   float64 `json:"p50_most_ms,omitempty"`
	Missed bool    `json:"missed"`
	// Overloaded: the case did not keep up with the open loop's rate, so its latencies
	// tell how long the queue grew.
	Overloaded bool    `json:"overloaded,omitempty"`
	Rounds     []Round `json:"rounds"`
}

func newResult(c Case, load Load, s series) Result {
	rounds := s.rounds
	figure := func(of func(Round) float64) Spread {
		var values []float64
		for _, round := range rounds {
			values = append(values, of(round))
		}
		return spreadOf(values)
	}
	r := Result{
		Case: c.Key, Name: c.Name, Load: load.Name, Rounds: rounds,
		RequestsPerSecond: figure(Round.throughput),
		P50:               figure(func(r Round) float64 { return r.P50 }),
		P99:               figure(func(r Round) float64 { return r.P99 }),
		Served:            figure(Round.served),
		CPU:               make(map[Role]Spread),
		Most:              milliseconds(c.Most),
		Samples:           len(s.pooled),
	}
	if r.Samples >= leastSamples {
		r.P999 = milliseconds(percentile(slices.Sorted(slices.Values(s.pooled)), 0.999))
	}
	r.Overloaded = r.RequestsPerSecond.Median < keptRate*load.Rate
	r.Missed = r.Most > 0 && r.P50.Median > r.Most
	for _, role := range Roles() {
		r.CPU[role] = figure(func(r Round) float64 { return r.CPU[role] })
	}
	return r
}

// keptRate is the part of an open loop's rate that a case has to serve.
const keptRate = 0.95

// results are in the order of loads, and within a load of cases.
func (r *run) results() []Result {
	var results []Result
	for _, load := range append(r.config.loads(), Load{Name: Cold}, Load{Name: Build}) {
		for _, c := range r.stand.wanted {
			if s := r.series[resultKey{c.Key, load.Name}]; s != nil {
				results = append(results, newResult(c, load, *s))
			}
		}
	}
	return results
}

func newReport(began time.Time, machine Machine, config Config, results []Result) Report {
	report := Report{
		StartedAt: began.UTC(), Machine: machine, Results: results,
		Settings: Settings{
			Rounds: config.Rounds, Seconds: config.Duration.Seconds(),
			OpenSeconds: (openLonger * config.Duration).Seconds(),
			Rate:        config.Rate, EnvoyConcurrency: config.Concurrency, Parts: config.Parts,
		},
	}
	for _, ratio := range ratiosOf(config.Parts) {
		compare := func(load string, of func(Round) float64) Spread {
			return ratioOf(report.find(ratio.Case, load), report.find(ratio.Beside, load), of)
		}
		ratio.ThirtyTwo = compare(ThirtyTwo, Round.throughput)
		ratio.One = compare(One, Round.throughput)
		ratio.CPU = compare(ThirtyTwo, Round.served)
		ratio.Missed = ratio.ThirtyTwo.Median < ratio.Target
		report.Ratios = append(report.Ratios, ratio)
	}
	for _, d := range differencesOf(config.Parts) {
		d.P50 = differenceOf(report.find(d.Case, One), report.find(d.Beside, One))
		d.Missed = d.missed()
		report.Differences = append(report.Differences, d)
	}
	return report
}

// find returns the rounds of a case, none if it was not measured.
func (r Report) find(caseKey, load string) []Round {
	if result := r.result(caseKey, load); result != nil {
		return result.Rounds
	}
	return nil
}

// result is nil where a case was not measured.
func (r Report) result(key, load string) *Result {
	i := slices.IndexFunc(r.Results, func(r Result) bool { return r.Case == key && r.Load == load })
	if i < 0 {
		return nil
	}
	return &r.Results[i]
}

// ratioOf compares within each round, whose measurements were neighbours in time:
// what slows the machine for longer than a round cancels out.
func ratioOf(rounds, beside []Round, of func(Round) float64) Spread {
	var ratios []float64
	for i := range min(len(rounds), len(beside)) {
		ratio := of(rounds[i]) / of(beside[i])
		if !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
			ratios = append(ratios, ratio)
		}
	}
	return spreadOf(ratios)
}

// differenceOf is that of the median latencies, in ms, within each round.
func differenceOf(rounds, beside []Round) Spread {
	var differences []float64
	for i := range min(len(rounds), len(beside)) {
		differences = append(differences, rounds[i].P50-beside[i].P50)
	}
	return spreadOf(differences)
}

// MissedTargets lists the targets that are missed, by the keys of what is compared. One that
// was not measured is missed too.
func (r Report) MissedTargets() []string {
	var missed []string
	for _, ratio := range r.Ratios {
		if ratio.Missed {
			missed = append(missed, ratio.Case+"/"+ratio.Beside)
		}
	}
	for _, d := range r.Differences {
		if d.Missed {
			missed = append(missed, d.Case+"-"+d.Beside)
		}
	}
	for _, result := range r.Results {
		if result.Missed {
			missed = append(missed, result.Case)
		}
	}
	for _, m := range r.Missing {
		if m.Case == string(StatePart) || slices.ContainsFunc(Cases(), func(c Case) bool { return c.Key == m.Case && c.Most > 0 }) {
			missed = append(missed, m.Case)
		}
	}
	for _, b := range r.Bursts {
		if b.Missed {
			missed = append(missed, b.Case+" burst")
		}
	}
	if r.State != nil {
		missed = append(missed, r.State.missed()...)
	}
	if r.Density != nil {
		missed = append(missed, r.Density.missed()...)
	}
	return missed
}
