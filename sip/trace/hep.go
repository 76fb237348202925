package trace

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"sync/atomic"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// HEP version 3: "HEP3", total length, then chunks of vendor, type, length and value; all numbers in network order.
//
//	 0       4       6                 12
//	+-------+-------+--------+--------+--------+----------+
//	| HEP3  | total | vendor | type   | length | value... |  chunks follow each other; length counts its own six bytes
//	+-------+-------+--------+--------+--------+----------+
const (
	chunkFamily      = 1
	chunkProtocol    = 2
	chunkSource4     = 3
	chunkDest4       = 4
	chunkSource6     = 5
	chunkDest6       = 6
	chunkSourcePort  = 7
	chunkDestPort    = 8
	chunkSeconds     = 9
	chunkMicros      = 10
	chunkPayloadKind = 11
	chunkAgent       = 12
	chunkKey         = 14
	chunkPayload     = 15
	chunkCorrelation = 17

	familyIPv4, familyIPv6 = 2, 10
	protocolTCP            = 6
	protocolUDP            = 17
	payloadSIP             = 1
	// longestHEP is what a datagram can carry.
	longestHEP = 65507
)

// exporter sends messages to a capture server. It never waits: what the queue cannot take is counted and forgotten.
type exporter struct {
	log     *slog.Logger
	dropped *observe.Dropped
	config  atomic.Pointer[HEPConfig]
	changed chan struct{}
	queue   chan copied
}

type copied struct {
	message Message
	callID  string
}

func newExporter(dropped *observe.Dropped, log *slog.Logger) *exporter {
	e := &exporter{log: log, dropped: dropped, changed: make(chan struct{}, 1), queue: make(chan copied, 1024)}
	e.config.Store(&HEPConfig{})
	return e
}

func (e *exporter) apply(config HEPConfig) {
	e.config.Store(&config)
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *exporter) offer(m Message, callID string) {
	select {
	case e.queue <- copied{m, callID}:
	default:
		e.dropped.Count("trace", "hep_full")
	}
}

// run sends until ctx ends.
func (e *exporter) run(ctx context.Context) {
	var conn net.Conn
	closeConn := func() {
		if conn != nil {
			_ = conn.Close() // nothing is buffered
			conn = nil
		}
	}
	defer closeConn()
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.changed:
			closeConn()
		case m := <-e.queue:
			config := e.config.Load()
			if config.Address == "" {
				continue
			}
			if conn == nil {
				var err error
				if conn, err = (&net.Dialer{}).DialContext(ctx, "udp", config.Address); err != nil {
					e.dropped.Count("trace", "hep_unreachable")
					conn = nil
					continue
				}
			}
			buf = appendHEP(buf[:0], *config, m)
			if len(buf) > longestHEP {
				e.dropped.Count("trace", "hep_too_long")
				continue
			}
			if _, err := conn.Write(buf); err != nil { // ICMP told us that nobody listens
				e.dropped.Count("trace", "hep_unreachable")
				closeConn()
			}
		}
	}
}

// appendHEP appends one packet.
func appendHEP(b []byte, config HEPConfig, m copied) []byte {
	start := len(b)
	b = append(b, "HEP3\x00\x00"...)
	source, dest := m.message.Flow.Local, m.message.Flow.Remote
	if m.message.In {
		source, dest = dest, source
	}
	from, to := source.Addr().Unmap(), dest.Addr().Unmap()
	protocol := byte(protocolTCP)
	if m.message.Flow.Transport == stack.UDP {
		protocol = protocolUDP
	}
	if from.Is4() && to.Is4() {
		b = appendChunk(b, chunkFamily, []byte{familyIPv4})
		b = appendChunk(b, chunkProtocol, []byte{protocol})
		b = appendChunk(b, chunkSource4, from.AsSlice())
		b = appendChunk(b, chunkDest4, to.AsSlice())
	} else {
		from16, to16 := from.As16(), to.As16()
		b = appendChunk(b, chunkFamily, []byte{familyIPv6})
		b = appendChunk(b, chunkProtocol, []byte{protocol})
		b = appendChunk(b, chunkSource6, from16[:])
		b = appendChunk(b, chunkDest6, to16[:])
	}
	b = appendChunk(b, chunkSourcePort, binary.BigEndian.AppendUint16(nil, source.Port()))
	b = appendChunk(b, chunkDestPort, binary.BigEndian.AppendUint16(nil, dest.Port()))
	b = appendChunk(b, chunkSeconds, binary.BigEndian.AppendUint32(nil, uint32(m.message.At.Unix())))           //nolint:gosec // the format's width
	b = appendChunk(b, chunkMicros, binary.BigEndian.AppendUint32(nil, uint32(m.message.At.Nanosecond()/1000))) //nolint:gosec // below a million
	b = appendChunk(b, chunkPayloadKind, []byte{payloadSIP})
	b = appendChunk(b, chunkAgent, binary.BigEndian.AppendUint32(nil, uint32(config.Agent))) //nolint:gosec // validated
	if key := config.Password.Reveal(); key != "" {
		b = appendChunk(b, chunkKey, []byte(key))
	}
	b = appendChunk(b, chunkCorrelation, []byte(m.callID))
	b = appendChunk(b, chunkPayload, m.message.Text)
	if total := len(b) - start; total <= longestHEP {
		binary.BigEndian.PutUint16(b[start+4:], uint16(total)) //nolint:gosec // just compared
	}
	return b
}

func appendChunk(b []byte, kind uint16, value []byte) []byte {
	b = append(b, 0, 0) // the generic vendor
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(6+len(value))) //nolint:gosec // a message of 64 KiB does not fit, see longestHEP
	return append(b, value...)
}
