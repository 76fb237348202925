package stack

import (
	"net/netip"
	"strings"
)

// The transports a Flow can have. WS and WSS are browsers, see ServeWebSocket.
const (
	UDP = "UDP"
	TCP = "TCP"
	TLS = "TLS"
	WS  = "WS"
	WSS = "WSS"
)

// Flow is where a message came in and where an answer or a later request must
// leave (RFC 5626 §3.1 uses the word the same way). For UDP, Local is the
// address the peer sent to, also on a wildcard socket; for streams the pair of
// addresses names one connection. Flows are comparable and may be stored: a
// stored stream flow is gone after a restart, a stored UDP flow is not.
type Flow struct {
	Transport string
	Local     netip.AddrPort
	Remote    netip.AddrPort
}

// Stream reports whether the flow is a connection.
func (f Flow) Stream() bool { return f.Transport != UDP }

// Web reports whether a browser is at the other end.
func (f Flow) Web() bool { return f.Transport == WS || f.Transport == WSS }

// IsZero reports whether the flow names nothing.
func (f Flow) IsZero() bool { return f == Flow{} }

// String is for logs: "UDP 127.0.0.1:5060 <- 127.0.1.7:5062".
func (f Flow) String() string {
	return f.Transport + " " + f.Local.String() + " <- " + f.Remote.String()
}

// listener is the label of the flow's listener in metrics.
func (f Flow) listener() string { return listenerLabel(f.Transport) }

func listenerLabel(transport string) string { return "sip_" + strings.ToLower(transport) }
