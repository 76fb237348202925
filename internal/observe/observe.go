// Package observe is how the appliance is watched: structured logs, metrics, health, and the rules that keep them uniform.
//
// It holds one spelling of every log key, the logger's construction, the Prometheus registry with the Go and process
// collectors, the counter of everything thrown away (linehall_dropped_total), the recovery of panics at the edges of
// owner loops, and the small HTTP server for /metrics, /healthz and /readyz. It keeps no global state: loggers and
// registries come in through constructors. It does not decide what to log and never sees payloads or secrets.
//
// Everything here may be used from many goroutines at once.
//
//	log, err := observe.NewLogger(os.Stderr, observe.FormatText, slog.LevelInfo)
//	reg := observe.NewRegistry()
//	dropped := observe.NewDropped(reg)
//	defer observe.Recover(log, panics, "sip call")
//	dropped.Count("sip_udp", "malformed")
package observe
