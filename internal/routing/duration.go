package routing

import (
	"fmt"
	"time"
)

// Duration is written as the Gateway API writes it: 500ms, 10s, 1h30m.
type Duration time.Duration

// Time is the duration as Go has it.
func (d Duration) Time() time.Duration { return time.Duration(d) }

// String is how it is written.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is no duration such as 500ms, 10s or 1h30m", text)
	}
	*d = Duration(parsed)
	return nil
}
