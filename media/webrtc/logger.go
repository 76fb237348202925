package webrtc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// loggers adapts slog for pion. Pion reports ordinary events of the network as warnings and errors (a peer went away, a stream
// that we handle ourselves), so everything is debug here; what an operator must know is logged by the owner of the connection.
type loggers struct{ log *slog.Logger }

// Loggers is what pion's packages log with that are used without a Plane's connections.
func Loggers(log *slog.Logger) logging.LoggerFactory { return loggers{log} }

func (l loggers) NewLogger(scope string) logging.LeveledLogger {
	return logger{l.log.With("pion", scope)}
}

type logger struct{ log *slog.Logger }

func (l logger) write(msg string) { l.log.Debug("pion", "text", msg) }

func (l logger) writef(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.write(fmt.Sprintf(format, args...))
	}
}

func (l logger) Trace(string)                      {}
func (l logger) Tracef(string, ...any)             {}
func (l logger) Debug(msg string)                  { l.write(msg) }
func (l logger) Debugf(format string, args ...any) { l.writef(format, args...) }
func (l logger) Info(msg string)                   { l.write(msg) }
func (l logger) Infof(format string, args ...any)  { l.writef(format, args...) }
func (l logger) Warn(msg string)                   { l.write(msg) }
func (l logger) Warnf(format string, args ...any)  { l.writef(format, args...) }
func (l logger) Error(msg string)                  { l.write(msg) }
func (l logger) Errorf(format string, args ...any) { l.writef(format, args...) }
