package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"envoke/runtimes/runtimepb"
)

// setting is what can be changed while the host runs.
type setting struct {
	value func() any
	parse func(jsontext.Value) (apply func(), err error)
}

// settings are all of them, by name.
type settings struct {
	*sync.Mutex // held while they are changed
	named       map[string]setting
}

func newSettings(o Options) settings {
	s := settings{new(sync.Mutex), map[string]setting{"log_level": logLevel(o.LogLevel)}}
	if o.Idle != nil {
		s.named["idle_workers"] = idleWorkers(o.Idle, o.MaxIdle)
	}
	return s
}

// UpdateConfig changes all settings that are named, or none.
func (s *Server) UpdateConfig(ctx context.Context, r *runtimepb.UpdateConfigRequest) (*runtimepb.UpdateConfigResponse, error) {
	s.settings.Lock()
	defer s.settings.Unlock()
	reply := &runtimepb.UpdateConfigResponse{}
	if err := s.settings.change(r.GetConfig()); err != nil {
		message := err.Error()
		reply.Error = &message
	} else {
		reply.Success = true
		s.Logger.InfoContext(ctx, "settings were changed by gRPC",
			slog.String("request_id", r.GetRequestId()), slog.Any("settings", s.settings.current()))
	}
	current, err := json.Marshal(s.settings.current(), json.Deterministic(true))
	reply.CurrentConfig = string(current)
	return reply, err
}

// change applies what the JSON says, if all of it can be. The error is for the caller.
func (s settings) change(config string) error {
	if strings.TrimSpace(config) == "" {
		return nil
	}
	var wanted map[string]jsontext.Value
	if err := json.Unmarshal([]byte(config), &wanted); err != nil || wanted == nil {
		return fmt.Errorf("config must be a JSON object such as %s", `{"log_level":"debug"}`)
	}
	var changes []func()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		setting, ok := s.named[name]
		if !ok {
			return fmt.Errorf("%q cannot be changed; there is %s", cut(name, 64), strings.Join(slices.Sorted(maps.Keys(s.named)), ", "))
		}
		apply, err := setting.parse(wanted[name])
		if err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		changes = append(changes, apply)
	}
	for _, apply := range changes {
		apply()
	}
	return nil
}

func (s settings) current() map[string]any {
	values := make(map[string]any, len(s.named))
	for name, setting := range s.named {
		values[name] = setting.value()
	}
	return values
}

// logLevel is of the whole process.
func logLevel(level *slog.LevelVar) setting {
	return setting{
		value: func() any { return strings.ToLower(level.Level().String()) },
		parse: func(raw jsontext.Value) (func(), error) {
			var name string
			var wanted slog.Level
			if json.Unmarshal(raw, &name) != nil || wanted.UnmarshalText([]byte(name)) != nil {
				return nil, errors.New("must be debug, info, warn or error")
			}
			return func() { level.Set(wanted) }, nil
		},
	}
}

func idleWorkers(idle IdleWorkers, most int) setting {
	return setting{
		value: func() any { return idle.Idle() },
		parse: func(raw jsontext.Value) (func(), error) {
			n, err := strconv.Atoi(string(raw))
			if err != nil || n < 0 || n > most {
				return nil, fmt.Errorf("must be a whole number from 0 to %d", most)
			}
			return func() { idle.SetIdle(n) }, nil
		},
	}
}
