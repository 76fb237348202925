package codec

import "math"

// ComfortNoise is the noise of a pause in speech (RFC 3389). Its zero value is silent.
//
// Only the level is used: the spectrum that may follow in a packet is that of the room behind the speaker, and white
// noise at the same level tells a listener as well that the line is there.
type ComfortNoise struct {
	amplitude int32
	seed      uint32
}

// Payload takes a packet of payload type CN: its first octet is the level in -dBov, 0 to 127.
func (n *ComfortNoise) Payload(payload []byte) error {
	if len(payload) == 0 || payload[0] > 127 {
		return ErrPayload
	}
	n.Level(-float64(payload[0]))
	return nil
}

// Level sets the level in dBov: 0 is that of a square wave of full scale.
func (n *ComfortNoise) Level(dBov float64) {
	rms := 32768 * math.Pow(10, dBov/20)
	n.amplitude = int32(min(32767, rms*math.Sqrt(3))) // uniform noise of ±a has a/√3
}

// Fill fills samples with noise.
func (n *ComfortNoise) Fill(samples []int16) {
	for i := range samples {
		n.seed = n.seed*1664525 + 1013904223
		samples[i] = int16(int64(int32(n.seed)) * int64(n.amplitude) >> 31)
	}
}
