package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"

	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/runtimes/runtimepb"
)

const (
	defaultLines = 100
	maxLines     = 1000
	maxPage      = 2 << 20 // bytes of text: clients take messages of 4 MiB by default
)

var timeRanges = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour}

// printed is a line as GetLogs tells it.
type printed struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Level     string    `json:"level"`
	Text      string    `json:"text"`
}

// GetLogs tells what functions printed.
func (s *Server) GetLogs(_ context.Context, r *runtimepb.GetLogsRequest) (*runtimepb.GetLogsResponse, error) {
	query, err := outputQuery(r)
	if err != nil {
		return nil, err
	}
	lines, total := s.Output.Find(query)
	page, size := make([]printed, 0, len(lines)), 0
	for _, line := range lines {
		if size += len(line.Text); size > maxPage {
			break
		}
		page = append(page, printed{line.Time, line.RequestID, line.Level, line.Text})
	}
	text, err := json.Marshal(page)
	if err != nil {
		return nil, fmt.Errorf("encode lines: %w", err)
	}
	return &runtimepb.GetLogsResponse{Logs: string(text), TotalCount: int32(total)}, nil
}

func outputQuery(r *runtimepb.GetLogsRequest) (logs.OutputQuery, error) {
	q := logs.OutputQuery{ID: r.GetRequestId(), Level: slog.Level(math.MinInt), Limit: defaultLines, Offset: int(r.GetOffset())}
	if r.LogLevel != nil && q.Level.UnmarshalText([]byte(r.GetLogLevel())) != nil {
		return q, invalid("log_level must be debug, info, warn or error")
	}
	if r.TimeRange != nil {
		age, ok := timeRanges[r.GetTimeRange()]
		if !ok {
			return q, invalid("time_range must be 1h, 24h or 7d")
		}
		q.Since = time.Now().Add(-age)
	}
	if r.Limit != nil {
		q.Limit = int(r.GetLimit())
	}
	if q.Limit < 1 || q.Limit > maxLines {
		return q, invalid(fmt.Sprintf("limit must be 1 to %d", maxLines))
	}
	if q.Offset < 0 {
		return q, invalid("offset must not be negative")
	}
	return q, nil
}

func invalid(message string) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: message}
}
