package observe

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Recover ends a panic at the edge of an owner loop: it logs the stack and counts, so that one call's defect does not
// end the others. It must be deferred directly (defer observe.Recover(...)); panics may be nil.
func Recover(log *slog.Logger, panics prometheus.Counter, where string) {
	r := recover()
	if r == nil {
		return
	}
	if panics != nil {
		panics.Inc()
	}
	log.Error("panic recovered", slog.String(Where, where), slog.String(Reason, fmt.Sprint(r)),
		slog.String("stack", string(debug.Stack())))
}
