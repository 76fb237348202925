package stack

import "time"

// Limits bound what the network can make the stack hold or do. A zero field
// takes its default.
type Limits struct {
	MessageBytes   int           // one message, header and body; 65535, what a datagram can carry
	HeaderBytes    int           // start line and headers; 32 KiB: 20 times a desk phone's longest INVITE
	URIBytes       int           // Request-URI; 2048
	Headers        int           // header lines; 256
	SourceRate     float64       // messages per second and source address (of a stream also reads); 2000: a SIPp with 200 calls/s
	SourceBurst    float64       // 6000: a branch's phones after a power cut, behind one address
	Sources        int           // sources remembered by the rate limit; 8192
	Conns          int           // connections in total; 4096
	ConnsPerSource int           // connections of one address; 256: a whole building behind one NAT
	Transactions   int           // server transactions; 65536: 32 s of 2000 requests/s
	EarlyCancels   int           // CANCELs waiting for their INVITE; 1024
	Handshake      time.Duration // TLS handshake; 10 s
	Dials          int           // connections being opened by us; 64: half a building's phones
	DialTime       time.Duration // opening one; 2 s: a SYN and its first repetition
	FirstMessage   time.Duration // from accept to the first complete message; 30 s
	MessageTime    time.Duration // from the first to the last byte of a message; 15 s
	IdleUnknown    time.Duration // silence on a connection nobody has authenticated on; 60 s
	IdleTrusted    time.Duration // silence on any other; 2 h: a phone may refresh hourly and send no keep-alive
	WebPing        time.Duration // between two pings of a WebSocket; 30 s, below what firewalls forget
	WriteTime      time.Duration // one write on a stream; 10 s
	WriteQueue     int           // messages waiting for a slow stream, beyond it is closed; 256
	TimerC         time.Duration // INVITE after its last provisional response; RFC 3261 §16.6: more than 3 min
	HandlerTime    time.Duration // an INVITE nobody answers; 10 min
}

func (l Limits) withDefaults() Limits {
	def(&l.MessageBytes, 65535)
	def(&l.HeaderBytes, 32<<10)
	def(&l.URIBytes, 2048)
	def(&l.Headers, 256)
	def(&l.SourceRate, 2000)
	def(&l.SourceBurst, 6000)
	def(&l.Sources, 8192)
	def(&l.Conns, 4096)
	def(&l.ConnsPerSource, 256)
	def(&l.Transactions, 1<<16)
	def(&l.EarlyCancels, 1024)
	def(&l.Handshake, 10*time.Second)
	def(&l.Dials, 64)
	def(&l.DialTime, 2*time.Second)
	def(&l.FirstMessage, 30*time.Second)
	def(&l.MessageTime, 15*time.Second)
	def(&l.IdleUnknown, time.Minute)
	def(&l.IdleTrusted, 2*time.Hour)
	def(&l.WebPing, 30*time.Second)
	def(&l.WriteTime, 10*time.Second)
	def(&l.WriteQueue, 256)
	def(&l.TimerC, 181*time.Second)
	def(&l.HandlerTime, 10*time.Minute)
	return l
}

func def[T int | float64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
