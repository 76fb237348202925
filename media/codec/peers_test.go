package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
)

// material is what the peers are compared with: a voice, noise up to full scale, tones, silence.
func material(rate int) []int16 {
	out := codectest.Speech(rate, 2*time.Second, 3)
	out = append(out, codectest.Noise(rate, 0, time.Second, 4)...)
	out = append(out, make([]int16, rate/2)...)
	out = append(out, codectest.Tone(rate, 350, 3, time.Second/2)...)
	return append(out, codectest.Tone(rate, 3100, -40, time.Second/2)...)
}

func bytesOf(samples []int16) []byte {
	out := make([]byte, 0, 2*len(samples))
	for _, s := range samples {
		out = binary.LittleEndian.AppendUint16(out, uint16(s))
	}
	return out
}

func samplesOf(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

func run(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, diagnosis bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnosis
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, diagnosis.String())
	}
	return out.Bytes()
}

func ffmpeg(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: make tools")
	}
	return run(t, in, "ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
}

func inPackets(t *testing.T, d codec.Decoder, stream []byte) (out []int16) {
	t.Helper()
	for packet := range slices.Chunk(stream, 160) {
		out = append(out, decode(t, d, packet)...)
	}
	return out
}

// firstDifference returns the index, or -1 when a is b as far as both go and neither is much shorter.
func firstDifference[T byte | int16](a, b []T) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if d := len(a) - len(b); d > 64 || d < -64 {
		return min(len(a), len(b))
	}
	return -1
}

// G.722 beside ffmpeg's: the standard defines decoder and encoder to the bit.
func TestG722LikeFFmpeg(t *testing.T) {
	pcm := material(16_000)
	ours := codec.NewG722Encoder().Encode(nil, pcm)
	theirs := ffmpeg(t, bytesOf(pcm), "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "g722", "-f", "g722", "-")
	if at := firstDifference(ours, theirs); at >= 0 {
		t.Errorf("octet %d of %d differs from ffmpeg's encoder", at, len(ours))
	}
	decoded := samplesOf(ffmpeg(t, ours, "-f", "g722", "-i", "-", "-f", "s16le", "-"))
	if at := firstDifference(inPackets(t, codec.NewG722Decoder(), ours), decoded); at >= 0 {
		t.Errorf("sample %d of %d differs from ffmpeg's decoder", at, len(decoded))
	}
}

// G.711 beside ffmpeg's. Decoding is the same to the bit. Its encoder rounds to the nearest value of the decoder where
// the Recommendation has decision values of its own, so that a sample at a border may fall to either side.
func TestG711LikeFFmpeg(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	pcm := material(8_000)
	for _, row := range []struct {
		format codec.Format
		name   string
	}{{codec.PCMA, "alaw"}, {codec.PCMU, "mulaw"}} {
		arguments := []string{"-f", row.name, "-ar", "8000", "-ac", "1", "-i", "-", "-f", "s16le", "-"}
		if got := decode(t, row.format.NewDecoder(), all); !slices.Equal(got, samplesOf(ffmpeg(t, all, arguments...))) {
			t.Errorf("%s: ffmpeg decodes to other values", row.name)
		}
		theirs := ffmpeg(t, bytesOf(pcm), "-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-", "-f", row.name, "-")
		a, b := inPackets(t, row.format.NewDecoder(), row.format.NewEncoder().Encode(nil, pcm)), inPackets(t, row.format.NewDecoder(), theirs)
		if len(a) != len(b) {
			t.Fatalf("%s: %d and %d samples", row.name, len(a), len(b))
		}
		ours, _ := codectest.SNR(pcm, a, 0)
		their, _ := codectest.SNR(pcm, b, 0)
		t.Logf("%s: SNR %.2f dB, ffmpeg %.2f", row.name, ours, their)
		if ours < their-0.1 {
			t.Errorf("%s: SNR %.2f dB, ffmpeg has %.2f", row.name, ours, their)
		}
	}
}

// oracle is a program around spandsp; it needs a C compiler and the library's headers.
func oracle(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is not installed: make tools")
	}
	if _, err := os.Stat("/usr/include/spandsp"); err != nil {
		t.Skip("libspandsp-dev is not installed: make tools")
	}
	program := filepath.Join(t.TempDir(), "oracle")
	source, err := filepath.Abs("testdata/spandsp.c")
	if err != nil {
		t.Fatal(err)
	}
	run(t, nil, "gcc", "-O1", "-o", program, source, "-lspandsp")
	return program
}

// G.722 and G.711 beside spandsp's, which states that it passes the ITU's test sequences. Two differences are its own:
// its G.722 decoder lets samples beyond 16 bits wrap where G.722 (and ffmpeg) limits them, and its mu-law takes a negative
// sample's magnitude where ITU-T G.191 takes the one's complement, so that its code for s is ours for s-1.
func TestLikeSpandsp(t *testing.T) {
	program := oracle(t)
	for _, row := range []struct {
		format codec.Format
		name   string
	}{{codec.G722, "g722"}, {codec.PCMA, "alaw"}, {codec.PCMU, "ulaw"}} {
		pcm := material(row.format.Rate)
		theirs := run(t, bytesOf(pcm), program, row.name, "encode")
		if row.name == "ulaw" {
			for i, s := range pcm {
				if s < 0 {
					pcm[i] = max(s, -32767) - 1
				}
			}
		}
		ours := row.format.NewEncoder().Encode(nil, pcm)
		if at := firstDifference(ours, theirs); at >= 0 {
			t.Errorf("%s: octet %d of %d differs from spandsp's encoder", row.name, at, len(ours))
		}
		noise := bytesOf(codectest.Noise(8_000, 3, 2*time.Second, 9)) // codes that no encoder would send in this order
		for _, stream := range [][]byte{ours, noise} {
			mine, decoded := inPackets(t, row.format.NewDecoder(), stream), samplesOf(run(t, stream, program, row.name, "decode"))
			for i := range min(len(mine), len(decoded)) {
				if row.name == "g722" && (mine[i] == 32767 || mine[i] == -32768) {
					decoded[i] = mine[i]
				}
			}
			if at := firstDifference(mine, decoded); at >= 0 {
				t.Errorf("%s: sample %d of %d differs from spandsp's decoder", row.name, at, len(decoded))
			}
		}
	}
}

// Opus beside libopus: the standard asks for the same sound, not for the same bits (RFC 6716 §6).
func TestOpusLikeLibopus(t *testing.T) {
	speech := codectest.Speech(48_000, 1500*time.Millisecond, 5)
	for _, row := range []struct {
		name  string
		args  []string
		least float64
	}{
		{"SILK, narrow band", []string{"-application", "voip", "-b:a", "10k"}, 35},
		{"SILK, wide band", []string{"-application", "voip", "-b:a", "18k"}, 35},
		{"hybrid", []string{"-application", "voip", "-b:a", "32k"}, 35},
		{"CELT", []string{"-application", "lowdelay", "-b:a", "48k"}, 35},
		{"60 ms", []string{"-application", "voip", "-b:a", "24k", "-frame_duration", "60"}, 35},
		{"stereo", []string{"-application", "audio", "-b:a", "64k", "-ac", "2"}, 35},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := append([]string{"-f", "s16le", "-ar", "48000", "-ac", "1", "-i", "-", "-c:a", "libopus"}, row.args...)
			ogg := ffmpeg(t, bytesOf(speech), append(args, "-f", "ogg", "-")...)
			packets, err := oggPackets(ogg)
			if err != nil {
				t.Fatal(err)
			}
			theirs := samplesOf(ffmpeg(t, ogg, "-c:a", "libopus", "-f", "ogg", "-i", "-", "-ar", "48000", "-ac", "1", "-f", "s16le", "-"))
			for _, rate := range []int{8_000, 16_000, 48_000} {
				d := codec.NewOpusDecoder(rate)
				var got []int16
				for _, p := range packets {
					got = append(got, decode(t, d, p)...)
				}
				if rate < 48_000 { // ffmpeg's change of the rate is not the decoder's
					if l, want := codectest.Level(got), codectest.Level(theirs); l < want-1 || l > want+1 {
						t.Errorf("%d Hz: level %.1f, libopus %.1f", rate, l, want)
					}
					continue
				}
				snr, delay := codectest.SNR(theirs, got, rate/125)
				t.Logf("%.1f dB beside libopus, %d samples of pre-skip", snr, delay)
				if snr < row.least {
					t.Errorf("%.1f dB beside libopus, want %.1f", snr, row.least)
				}
			}
		})
	}
}

// A committed stream: 1 s of 440 Hz, 20 ms packets, 24 kbit/s.
func TestOpusTone(t *testing.T) {
	d := codec.Opus.NewDecoder()
	var got []int16
	for _, p := range opusPackets(t) {
		got = append(got, decode(t, d, p)...)
	}
	got = got[1600:14_000]
	if p := codectest.Tonality(got, 16_000, 440); p < 0.98 {
		t.Errorf("%.3f of the power is the tone", p)
	}
	if l := codectest.Level(got); l < -11 || l > -9 {
		t.Errorf("level %.1f dBm0, want -10", l)
	}
}

// Discontinuous transmission: a TOC byte without audio is silence of its length, and the decoder goes on afterwards.
func TestOpusWithoutAudio(t *testing.T) {
	d := codec.Opus.NewDecoder()
	packets := opusPackets(t)
	decode(t, d, packets[0])
	if got := decode(t, d, packets[1][:1]); len(got) != 320 || codectest.Level(got) != -100 {
		t.Errorf("%d samples at %.0f dBm0, want 20 ms of silence", len(got), codectest.Level(got))
	}
	if got := decode(t, d, packets[1]); len(got) != 320 {
		t.Errorf("%d samples after silence", len(got))
	}
}

func opusPackets(tb testing.TB) [][]byte {
	tb.Helper()
	file, err := os.ReadFile("testdata/tone.opus")
	if err != nil {
		tb.Fatal(err)
	}
	packets, err := oggPackets(file)
	if err != nil {
		tb.Fatal(err)
	}
	return packets
}

// oggPackets returns the packets of an Ogg file behind its two headers (RFC 3533 §6, RFC 7845 §3).
func oggPackets(file []byte) (packets [][]byte, err error) {
	var packet []byte
	for len(file) > 0 {
		if len(file) < 27 || string(file[:4]) != "OggS" || len(file) < 27+int(file[26]) {
			return nil, errors.New("not an Ogg page")
		}
		lengths := file[27 : 27+int(file[26])]
		file = file[27+len(lengths):]
		for _, n := range lengths {
			packet = append(packet, file[:n]...)
			file = file[n:]
			if n < 255 {
				packets = append(packets, packet)
				packet = nil
			}
		}
	}
	if len(packets) < 3 {
		return nil, errors.New("no audio")
	}
	return packets[2:], nil
}
