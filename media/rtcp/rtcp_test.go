package rtcp_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	pion "github.com/pion/rtcp"
	"pgregory.net/rapid"

	"linehall/media/packet"
	"linehall/media/rtcp"
)

const (
	clock = 8000
	frame = 20 * time.Millisecond
)

func header(ssrc packet.SSRC, seq uint16, ts uint32) packet.Header {
	return packet.Header{Type: 8, SSRC: ssrc, Sequence: seq, Timestamp: ts}
}

func TestReceptionCountsLoss(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		seqs    []uint16
		lost    uint64
		sources uint32
	}{
		{"in order", []uint16{1, 2, 3, 4}, 0, 1},
		{"one missing", []uint16{1, 2, 4}, 1, 1},
		{"around the wrap", []uint16{65534, 65535, 1}, 1, 1},
		{"reordered", []uint16{1, 3, 2, 4}, 0, 1},
		{"twice", []uint16{1, 2, 2, 3}, 0, 1},
		{"duplicates do not go below zero", []uint16{1, 1, 1}, 0, 1},
		{"a single stray packet is no jump", []uint16{1, 2, 20000, 3, 4}, 0, 1},
		{"a jump that goes on", []uint16{1, 3, 20000, 20001, 20003}, 2, 2},
		{"a long gap", []uint16{1, 2002}, 2000, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r rtcp.Reception
			for i, seq := range tc.seqs {
				r.Packet(int64(i)*int64(frame), header(7, seq, uint32(i)*160), clock, 200)
			}
			s := r.Snapshot()
			if s.Lost != tc.lost || s.Sources != tc.sources || s.Packets != uint64(len(tc.seqs)) || s.Bytes != 200*s.Packets {
				t.Errorf("lost %d of %d packets, %d bytes, %d sources; want %d lost, %d sources",
					s.Lost, s.Packets, s.Bytes, s.Sources, tc.lost, tc.sources)
			}
		})
	}
}

func TestReceptionKeepsLossOfFormerSources(t *testing.T) {
	t.Parallel()
	var r rtcp.Reception
	for i, h := range []packet.Header{header(1, 1, 0), header(1, 4, 480), header(2, 900, 0), header(2, 902, 320)} {
		r.Packet(int64(i), h, clock, 1)
	}
	if s := r.Snapshot(); s.Lost != 3 || s.Sources != 2 || s.SSRC != 2 {
		t.Errorf("%+v, want 3 lost of 2 sources", s)
	}
}

// The slow model counts a set of extended sequence numbers.
func TestReceptionAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Uint32Range(0, 65535).Draw(t, "base")
		n := rapid.IntRange(1, 500).Draw(t, "n")
		loss := rapid.Float64Range(0, 0.5).Draw(t, "loss")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var r rtcp.Reception
		r.Packet(0, header(1, uint16(base), 0), clock, 1)
		seen, top := uint64(1), base
		order := make([]uint32, 0, n)
		for i := 1; i <= n; i++ {
			order = append(order, base+uint32(i))
		}
		for i := range order { // reorder within three places
			if j := i + rng.IntN(3); j < len(order) {
				order[i], order[j] = order[j], order[i]
			}
		}
		for _, seq := range order {
			if rng.Float64() < loss {
				continue
			}
			r.Packet(0, header(1, uint16(seq), 0), clock, 1)
			seen++
			top = max(top, seq)
		}
		if got, want := r.Snapshot().Lost, uint64(top-base)+1-seen; got != want {
			t.Fatalf("lost %d, want %d", got, want)
		}
	})
}

func TestJitter(t *testing.T) {
	t.Parallel()
	run := func(delay func(i int) time.Duration) time.Duration {
		var r rtcp.Reception
		for i := range 1000 {
			at := time.Duration(i)*frame + delay(i)
			r.Packet(int64(at), header(1, uint16(i), uint32(i)*160), clock, 1)
		}
		return r.Snapshot().Jitter
	}
	if got := run(func(int) time.Duration { return 30 * time.Millisecond }); got != 0 {
		t.Errorf("a constant delay gives %v", got)
	}
	// |D| is 10 ms at every packet, and so is the jitter.
	got := run(func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond })
	if got < 9900*time.Microsecond || got > 10*time.Millisecond {
		t.Errorf("a delay that alternates by 10 ms gives %v", got)
	}
}

func TestJitterIgnoresDTMFAndUnknownClocks(t *testing.T) {
	t.Parallel()
	var r rtcp.Reception
	at := int64(0)
	for i := range 100 {
		h := header(1, uint16(i), uint32(i)*160)
		rate := uint32(clock)
		switch i % 10 {
		case 5:
			h.Type, h.Timestamp = 101, 5 // an event keeps its timestamp
		case 7:
			h.Type, rate = 77, 0
		}
		r.Packet(at, h, rate, 1)
		at += int64(frame)
	}
	if s := r.Snapshot(); s.Jitter != 0 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestContinues(t *testing.T) {
	t.Parallel()
	var r rtcp.Reception
	if r.Continues(header(1, 1, 0)) {
		t.Error("nothing came yet")
	}
	r.Packet(0, header(1, 65535, 0), clock, 1)
	for _, tc := range []struct {
		ssrc packet.SSRC
		seq  uint16
		want bool
	}{{1, 0, true}, {1, 100, true}, {1, 65535, false}, {1, 65530, false}, {1, 5000, false}, {2, 0, false}} {
		if got := r.Continues(header(tc.ssrc, tc.seq, 0)); got != tc.want {
			t.Errorf("source %d sequence %d: %v", tc.ssrc, tc.seq, got)
		}
	}
}

func TestReceptionDoesNotAllocate(t *testing.T) {
	var r rtcp.Reception
	seq := uint16(0)
	if n := testing.AllocsPerRun(1000, func() {
		seq++
		r.Packet(int64(seq), header(1, seq, uint32(seq)*160), clock, 200)
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var trip rtcp.RoundTrip
	at := int64(70000 * time.Second) // beyond the wrap of the short format
	for i := range uint32(3) {
		trip.Sent(at+int64(i)*int64(time.Second), 0xabc0+i)
	}
	// The phone answers the second report 300 ms after it got it; the way takes 40 ms both ways together.
	trip.Answered(at+int64(1340*time.Millisecond), rtcp.Block{LSR: 0xabc1, DLSR: 65536 * 3 / 10})
	if got := trip.Last(); got < 39*time.Millisecond || got > 41*time.Millisecond {
		t.Errorf("round trip %v, want 40 ms", got)
	}
	before := trip.Last()
	trip.Answered(at, rtcp.Block{LSR: 0, DLSR: 5})
	trip.Answered(at, rtcp.Block{LSR: 0x9999, DLSR: 5})
	trip.Answered(at+int64(2*time.Second), rtcp.Block{LSR: 0xabc2, DLSR: 65536}) // held longer than the whole trip
	if trip.Last() != before {
		t.Errorf("round trip moved to %v by reports that answer nothing", trip.Last())
	}
}

func TestCompoundReadsReports(t *testing.T) {
	t.Parallel()
	b, err := pion.Marshal([]pion.Packet{
		&pion.SenderReport{
			SSRC: 1, NTPTime: 0x1111_2222_3333_4444, Reports: []pion.ReceptionReport{
				{SSRC: 2, FractionLost: 9, Jitter: 7, LastSenderReport: 0xaabb, Delay: 0xccdd},
			},
		},
		&pion.SourceDescription{Chunks: []pion.SourceDescriptionChunk{{Source: 1, Items: []pion.SourceDescriptionItem{{Type: pion.SDESCNAME, Text: "x"}}}}},
		&pion.ReceiverReport{SSRC: 1, Reports: []pion.ReceptionReport{{SSRC: 3}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var senders []uint32
	var blocks []rtcp.Block
	ok := rtcp.Compound(b, rtcp.Reader{
		Sender: func(ntp uint32) { senders = append(senders, ntp) },
		Block:  func(b rtcp.Block) { blocks = append(blocks, b) },
	})
	want := rtcp.Block{SSRC: 2, FractionLost: 9, Jitter: 7, LSR: 0xaabb, DLSR: 0xccdd}
	if !ok || len(senders) != 1 || senders[0] != 0x2222_3333 || len(blocks) != 2 || blocks[0] != want || blocks[1].SSRC != 3 {
		t.Errorf("%v, senders %x, blocks %+v", ok, senders, blocks)
	}
}

func FuzzCompound(f *testing.F) {
	sr := make([]byte, 28)
	sr[0], sr[1] = 0x80, 200
	binary.BigEndian.PutUint16(sr[2:], 6)
	f.Add(sr)
	f.Add([]byte{0x81, 201, 0, 1, 0, 0, 0, 1})
	f.Add(append([]byte{0x80, 207, 0, 10, 0, 0, 0, 1, 7, 0, 0, 8}, make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		blocks, voip := 0, 0
		rtcp.Compound(b, rtcp.Reader{Sender: func(uint32) {}, Block: func(rtcp.Block) { blocks++ }, VoIP: func(v rtcp.VoIPBlock) {
			voip++
			if m := v.Metrics(); m.Loss >= 1 || m.R > 100 || m.MOSListening > 5 {
				t.Fatalf("%+v", m)
			}
		}})
		if blocks > len(b)/24 || voip > len(b)/36 {
			t.Fatalf("%d and %d blocks in %d bytes", blocks, voip, len(b))
		}
	})
}

// The values of G.107 annex B, table B.1.
func TestMOSFollowsTheTable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ r, mos float64 }{
		{93.2, 4.41}, {90, 4.34}, {80, 4.03}, {70, 3.60}, {60, 3.10}, {50, 2.58}, {0, 1}, {-5, 1}, {100, 4.5},
	} {
		if got := rtcp.MOS(tc.r); math.Abs(got-tc.mos) > 0.01 {
			t.Errorf("MOS(%v) = %.3f, want %.2f", tc.r, got, tc.mos)
		}
	}
}

func TestRating(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		q    rtcp.Quality
		want float64
	}{
		{"default of G.107", rtcp.Quality{Codec: "PCMA"}, 93.2},
		{"G.711, 1 % random loss", rtcp.Quality{Codec: "pcmu", Loss: 0.01}, 93.2 - 95.0/26.1},
		{"G.711, 5 % random loss", rtcp.Quality{Codec: "PCMU", Loss: 0.05}, 93.2 - 95.0*5/30.1},
		{"G.711, 5 % in bursts", rtcp.Quality{Codec: "PCMU", Loss: 0.05, Burst: 2}, 93.2 - 95.0*5/27.6},
		{"G.729A", rtcp.Quality{Codec: "G729"}, 82.2},
		{"G.729A, 2 %", rtcp.Quality{Codec: "G729", Loss: 0.02}, 93.2 - 11 - 84.0*2/21},
		{"100 ms are free", rtcp.Quality{Codec: "PCMA", Delay: 100 * time.Millisecond}, 93.2},
		{"200 ms", rtcp.Quality{Codec: "PCMA", Delay: 200 * time.Millisecond}, 93.2 - 3.044},
		{"400 ms", rtcp.Quality{Codec: "PCMA", Delay: 400 * time.Millisecond}, 93.2 - 24.07},
		{"wideband ends at the narrowband scale", rtcp.Quality{Codec: "opus"}, 93.2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := rtcp.Rating(tc.q); math.Abs(got-tc.want) > 0.02 {
				t.Errorf("R = %.2f, want %.2f", got, tc.want)
			}
		})
	}
}

func TestRatingIsMonotonous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := rtcp.Quality{
			Codec: rapid.SampledFrom([]string{"PCMA", "G729", "opus", "GSM", "what"}).Draw(t, "codec"),
			Loss:  rapid.Float64Range(0, 1).Draw(t, "loss"),
			Delay: time.Duration(rapid.IntRange(0, 2000).Draw(t, "delay")) * time.Millisecond,
		}
		worse := q
		worse.Loss = min(1, q.Loss+rapid.Float64Range(0, 1).Draw(t, "more"))
		worse.Delay += time.Duration(rapid.IntRange(0, 500).Draw(t, "later")) * time.Millisecond
		r, w := rtcp.Rating(q), rtcp.Rating(worse)
		if w > r+1e-9 || r > 93.2 || w < 0 || rtcp.MOS(w) < 1 {
			t.Fatalf("R %v for %+v, %v for %+v", r, q, w, worse)
		}
	})
}

func TestBunchedLossIsWorseThanTheSameLossAtRandom(t *testing.T) {
	// A tenth is lost: one in ten, or five in fifty.
	ratio := func(period, burst int) float64 {
		var r rtcp.Reception
		for i := range 1000 {
			if i%period >= burst {
				r.Packet(int64(i)*int64(20*time.Millisecond), header(1, uint16(i), uint32(160*i)), 8000, 200)
			}
		}
		return r.Snapshot().BurstRatio()
	}
	// The first gap is before the first packet, so it counts nowhere. BurstR of G.107: the mean gap times the share that came.
	if single, bunched := ratio(10, 1), ratio(50, 5); single != 1 || bunched < 4.5 || bunched > 4.6 {
		t.Errorf("burst ratio %v for single losses, %v for five at a time; want 1 and 4.5", single, bunched)
	}
	var none rtcp.Reception
	if got := none.Snapshot().BurstRatio(); got != 1 {
		t.Errorf("burst ratio %v before the first packet", got)
	}
}
