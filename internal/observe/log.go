package observe

import (
	"fmt"
	"io"
	"log/slog"
)

// Format is the shape of log lines.
type Format string

// The formats that NewLogger knows.
const (
	FormatText Format = "text" // key=value, for people at a terminal
	FormatJSON Format = "json" // one object per line, for journald and collectors
)

// NewLogger returns a logger that writes to w, which must accept concurrent writes in whole lines (os.Stderr does).
// An empty format means text.
func NewLogger(w io.Writer, format Format, level slog.Leveler) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case FormatText, "":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, fmt.Errorf("log format %q: want %q or %q", format, FormatText, FormatJSON)
	}
}

// ParseLevel reads "debug", "info", "warn" or "error" in any case; an empty text is info.
func ParseLevel(text string) (slog.Level, error) {
	if text == "" {
		return slog.LevelInfo, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("log level %q: want debug, info, warn or error", text)
	}
	return level, nil
}
