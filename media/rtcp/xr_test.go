package rtcp_test

import (
	"sync"
	"testing"
	"time"

	pion "github.com/pion/rtcp"
	"pgregory.net/rapid"

	"linehall/media/rtcp"
)

func TestExtendedReportsAreRead(t *testing.T) {
	t.Parallel()
	block := &pion.VoIPMetricsReportBlock{
		SSRC: 7, LossRate: 64, DiscardRate: 32, BurstDensity: 128, GapDensity: 16, BurstDuration: 120, GapDuration: 5000,
		RoundTripDelay: 80, EndSystemDelay: 60, SignalLevel: 127, NoiseLevel: 127, RERL: 127, Gmin: 16, RFactor: 91, ExtRFactor: 127,
		MOSLQ: 43, MOSCQ: 127, JBNominal: 40, JBMaximum: 60, JBAbsMax: 200,
	}
	b, err := pion.Marshal([]pion.Packet{
		&pion.ReceiverReport{SSRC: 1},
		&pion.ExtendedReport{SenderSSRC: 1, Reports: []pion.ReportBlock{&pion.ReceiverReferenceTimeReportBlock{NTPTimestamp: 1}, block}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var v rtcp.VoIP
	if v.Last().Given() {
		t.Error("something was said before the first report")
	}
	if !rtcp.Compound(b, rtcp.Reader{VoIP: v.Put}) || !rtcp.Compound(b, rtcp.Reader{}) {
		t.Error("not a compound packet")
	}
	want := rtcp.VoIPMetrics{
		SSRC: 7, Loss: 0.25, Discard: 0.125, BurstDensity: 0.5, GapDensity: 0.0625, Burst: 120 * time.Millisecond, Gap: 5 * time.Second,
		RoundTrip: 80 * time.Millisecond, EndSystem: 60 * time.Millisecond, R: 91, MOSListening: 4.3,
	}
	if got := v.Last(); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for cut := 1; cut < len(b); cut++ { // shortened datagrams are not read beyond their end
		rtcp.Compound(b[:cut], rtcp.Reader{VoIP: func(rtcp.VoIPBlock) { t.Fatalf("a block in %d of %d bytes", cut, len(b)) }})
	}
}

// A reader never sees half of one block and half of another.
func TestVoIPBlocksAreWhole(t *testing.T) {
	t.Parallel()
	var v rtcp.VoIP
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for i := byte(1); ; i = i%40 + 1 {
			var b rtcp.VoIPBlock
			for at := range b {
				b[at] = i
			}
			v.Put(b)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 10000 {
		if m := v.Last(); m.Given() && (m.Loss != m.GapDensity || int(m.Loss*256) != m.R) {
			t.Errorf("%+v", m)
			break
		}
	}
	close(stop)
	group.Wait()
}

// The model keeps every score.
func TestSecondsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s rtcp.Seconds
		scores := map[uint32]float64{}
		at, worst, sum := uint32(0), 5.0, 0.0
		var kinds [5]uint32
		for range rapid.IntRange(1, 300).Draw(t, "seconds") {
			mos := rapid.Float64Range(1, 4.5).Draw(t, "mos")
			s.Add(at, mos)
			scores[at] = mos
			worst, sum = min(worst, mos), sum+mos
			kinds[rtcp.Band(mos)]++
			at += rapid.Uint32Range(1, 40).Draw(t, "on")
		}
		if s.Worst != worst || scores[s.WorstAt] != worst || int(s.Rated) != len(scores) || s.Bands != kinds || s.Mean() != sum/float64(len(scores)) {
			t.Fatalf("%+v of %v", s, scores)
		}
		for slot, got := range s.Lowest {
			want := rtcp.TenthOf(0)
			for at, mos := range scores {
				if tenth := rtcp.TenthOf(10*mos + 0.5); int(at/s.Step) == slot && (want == 0 || tenth < want) {
					want = tenth
				}
			}
			if got != want || slot >= int(s.Slots) && got != 0 {
				t.Fatalf("slot %d of %d s: %v, want %v", slot, s.Step, got, want)
			}
		}
	})
}
