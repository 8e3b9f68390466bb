package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"envoke/internal/faas"
	"envoke/runtimes/runtimepb"
)

// numbers is what GetMetrics tells.
type numbers struct {
	Language faas.Language `json:"language"`
	Version  string        `json:"version"`
	Workers  workers       `json:"workers"`
	Calls    calls         `json:"calls"`
	// Counters are Prometheus's, by the names that they have there. A histogram is
	// two: its count, and its sum.
	Counters map[string]float64 `json:"counters"`
}

type workers struct {
	Version  string `json:"version"` // of the interpreter
	Starting int    `json:"starting"`
	Ready    int    `json:"ready"`
	Loaded   int    `json:"loaded"`
}

type calls struct {
	UnderWay int `json:"under_way"`
	Waiting  int `json:"waiting"`
}

// GetMetrics tells what the host counts.
func (s *Server) GetMetrics(context.Context, *runtimepb.GetMetricsRequest) (*runtimepb.GetMetricsResponse, error) {
	families, err := s.Metrics.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	stats := s.Host.Stats()
	all := numbers{
		Language: s.Language, Version: s.Version,
		Workers:  workers{stats.Version, stats.Starting, stats.Ready, stats.Loaded},
		Calls:    calls{stats.Calls, stats.Waiting},
		Counters: map[string]float64{},
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			all.add(family.GetName(), metric)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	return &runtimepb.GetMetricsResponse{Metrics: string(text)}, nil
}

// add takes in what is counted of this language: others may share the registry.
func (n *numbers) add(name string, metric *dto.Metric) {
	labels, ok := withoutLanguage(metric.GetLabel(), n.Language)
	switch {
	case !ok:
	case metric.GetCounter() != nil:
		n.Counters[name+labels] = metric.GetCounter().GetValue()
	case metric.GetHistogram() != nil:
		n.Counters[name+"_count"+labels] = float64(metric.GetHistogram().GetSampleCount())
		n.Counters[name+"_sum"+labels] = metric.GetHistogram().GetSampleSum()
	}
}

// withoutLanguage writes the labels beside the language's, as Prometheus does.
func withoutLanguage(labels []*dto.LabelPair, language faas.Language) (text string, ok bool) {
	var others []string
	for _, label := range labels {
		if label.GetName() != "language" {
			others = append(others, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
		} else if label.GetValue() == string(language) {
			ok = true
		}
	}
	if len(others) == 0 {
		return "", ok
	}
	return "{" + strings.Join(others, ",") + "}", ok
}
