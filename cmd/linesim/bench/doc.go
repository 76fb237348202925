// Package bench puts numbers on servers: CPU per registration and per call, CPU and added delay per relayed RTP
// packet, CPU and latency per packet forwarded in a six-venue room. The same load runs against the appliance, against
// other servers that do the same work, and against nothing (direct: the harness's own floor).
//
// CPU is the server's own, from /proc, all its processes and threads; load and server share the machine, so only
// ratios between runs interleaved in one session mean anything. A peer that is not installed is an error.
//
// The servers are started by Suite with a configuration of their own on free ports, or named by address and process
// for a single bench. Names of other servers are those of their Debian packages.
//
//	result, err := bench.Relay(ctx, bench.Direct(), bench.RelayLoad{Calls: 120, Measure: 10 * time.Second})
package bench
