package relay

import (
	"encoding/binary"
	"testing"
	"time"
)

// Ten good seconds, one in which ten packets in a row are missing, one without any, and a good one.
func TestEverySecondIsScored(t *testing.T) {
	r := newRig(t)
	r.stream.Rate("PCMA")
	b := append([]byte{0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, make([]byte, 160)...)
	now, sequence := time.Now(), uint16(0)
	speak := func(missing int) {
		for i := range 50 {
			sequence++
			if i >= 50-missing-1 && i < 49 {
				continue // lost before the last packet of the second
			}
			binary.BigEndian.PutUint16(b[2:], sequence)
			binary.BigEndian.PutUint32(b[4:], 160*uint32(sequence))
			r.socket.forward(r.put(b, r.source), int64(sequence)*int64(20*time.Millisecond))
		}
	}
	next := func() {
		now = now.Add(time.Second)
		r.stream.score(now)
	}
	for range 10 {
		speak(0)
		next()
	}
	speak(10)
	next()
	next()
	speak(0)
	next()
	s := r.stream.Stats()[0].Seconds
	if s.Rated != 12 || s.WorstAt != 10 || s.Worst > 2 || s.Bands != [5]uint32{11, 0, 0, 0, 1} || s.Slots != 13 || s.Lowest[11] != 0 || s.Lowest[12] < 43 {
		t.Errorf("%+v", s)
	}
	if other := r.stream.Stats()[1].Seconds; other.Rated != 0 {
		t.Errorf("the silent party: %+v", other)
	}
	r.stream.Rate("")
	speak(0)
	next()
	if again := r.stream.Stats()[0].Seconds; again != s {
		t.Errorf("scored although it is not rated: %+v", again)
	}
}

func TestExtendedReportsOfAPartyAreKept(t *testing.T) {
	for name, kind := range map[string]int{"beside": kindRTCP, "on the RTP port": kindRTP} {
		r := newRig(t)
		report := append([]byte{0x80, 201, 0, 1, 0, 0, 0, 3, 0x80, 207, 0, 10, 0, 0, 0, 3, 7, 0, 0, 8}, make([]byte, 32)...)
		report[20+3], report[20+4], report[20+22] = 9, 64, 41
		r.stream.legs[0].sockets[kind].forward(r.put(report, r.source), 1)
		if heard := r.stream.Stats()[0].Heard; heard.SSRC != 9 || heard.Loss != 0.25 || heard.MOSListening != 4.1 {
			t.Errorf("%s: %+v", name, heard)
		}
		if heard := r.stream.Stats()[1].Heard; heard.Given() {
			t.Errorf("%s: the other party said %+v", name, heard)
		}
	}
}
