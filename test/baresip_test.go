package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linehall/internal/lab"
)

// softphone is a baresip instance that knows nothing but what `terminal show` printed. Its microphone is a tone; what it
// hears lands in a file.
type softphone struct {
	*process
	dir     string
	host    *lab.Host // the network it is in
	control string    // baresip's control port
	port    int       // of SIP; one more for TLS
	account account
}

// speechTones are far apart and no multiples of each other.
const (
	lowTone  = 440
	highTone = 1030
)

// startSoftphone starts baresip at a site, speaking tone Hz.
func startSoftphone(t *testing.T, w *world, site string, acc account, transport string, tone int) *softphone {
	t.Helper()
	port := map[string]int{"udp": acc.UDPPort, "tcp": acc.TCPPort, "tls": acc.TLSPort}[transport]
	return startBaresip(t, w, site, acc, tone, "", fmt.Sprintf(
		"<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=%s\";answermode=auto;audio_codecs=pcma;regint=120",
		acc.Extension, acc.Domain, transport, acc.AuthUser, acc.Password, acc.Server, port, transport))
}

// startBaresip starts baresip with an account line of its own. It encrypts media where the account says so.
func startBaresip(t *testing.T, w *world, site string, acc account, tone int, config, line string) *softphone {
	t.Helper()
	dir := t.TempDir()
	base := softphonePorts(t)
	address := w.address(site)
	s := &softphone{port: base, dir: dir, host: w.site(site), control: fmt.Sprintf("%s:%d", address, base+10), account: acc}
	writeTone(t, filepath.Join(dir, "tone.wav"), tone, 120*time.Second)
	files := map[string]string{
		"config": fmt.Sprintf(`poll_method epoll
sip_listen %[1]s:%[2]d
sip_cafile %[3]s
call_local_timeout 120
call_max_calls 4
audio_player aubridge,nil
audio_alert aubridge,nil
audio_source aufile,%[4]s/tone.wav
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
rtp_ports %[5]d-%[6]d
jitter_buffer_delay 5-10
snd_path %[4]s
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %[7]s
module srtp.so
%[8]s`, address, base, acc.CAFile, dir, base+12, base+19, s.control, config),
		"accounts": line + "\n",
		"contacts": "",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.process = startCommand(t, dir, commandAt(s.host, "baresip", "-4", "-f", dir, "-v"))
	return s
}

// registeredAt waits until the appliance shows the phone as registered over the transport.
func (s *softphone) registeredAt(a *appliance, transport string) {
	a.t.Helper()
	a.eventually(15*time.Second, s.account.Extension+" is registered over "+transport, func() error {
		var terminal struct {
			Registered bool   `json:"registered"`
			Transport  string `json:"transport"`
		}
		a.decode(&terminal, "terminal", "show", s.account.Extension)
		if !terminal.Registered || !strings.EqualFold(terminal.Transport, transport) {
			return fmt.Errorf("registered %v over %q", terminal.Registered, terminal.Transport)
		}
		return nil
	})
}

// do sends one control command (a netstring with a JSON object).
func (s *softphone) do(command, params string) {
	s.t.Helper()
	connection, err := inside(s.host)(s.t.Context(), "tcp", s.control)
	if err != nil {
		s.t.Fatalf("baresip control: %v", err)
	}
	defer connection.Close()
	body, err := json.Marshal(map[string]string{"command": command, "params": params, "token": "t"})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(connection, "%d:%s,", len(body), body); err != nil {
		s.t.Fatalf("baresip control: %v", err)
	}
	// The answer says that the command was taken; events may come before it.
	_ = connection.SetReadDeadline(time.Now().Add(5 * time.Second))
	buffer := make([]byte, 4096)
	var answer strings.Builder
	for !strings.Contains(answer.String(), `"response":true`) {
		n, err := connection.Read(buffer)
		if err != nil {
			s.t.Fatalf("baresip control: no answer to %s: %v", command, err)
		}
		answer.Write(buffer[:n])
	}
}

// recorded is what the phone has heard in its last call, 16 bit at 8 or 16 kHz, by codec.
func (s *softphone) recorded() (rate int, raw []byte, err error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "dump-*-dec.wav"))
	if err != nil || len(files) == 0 {
		return 0, nil, fmt.Errorf("nothing recorded yet")
	}
	if raw, err = os.ReadFile(files[len(files)-1]); err != nil {
		return 0, nil, err
	}
	const header = 44
	if len(raw) < header {
		return 0, nil, fmt.Errorf("only %d bytes recorded", len(raw))
	}
	if rate = int(binary.LittleEndian.Uint32(raw[24:])); rate < 8000 {
		return 0, nil, fmt.Errorf("recorded at %d Hz", rate)
	}
	return rate, raw[header:], nil
}

// heard returns the level, relative to all sound of the last seconds, of the tone in what the phone heard: 1 is that tone alone.
func (s *softphone) heard(tone int) (float64, error) {
	rate, raw, err := s.recorded()
	if err != nil {
		return 0, err
	}
	if len(raw) < 2*2*rate {
		return 0, fmt.Errorf("only %d bytes recorded at %d Hz", len(raw), rate)
	}
	return share(linear(raw[len(raw)-2*rate:]), tone, rate), nil // the last second
}

func linear(raw []byte) []float64 {
	samples := make([]float64, len(raw)/2)
	for i := range samples {
		samples[i] = float64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
	}
	return samples
}

// hearsAt says when a tenth of a second of what the phone hears is that tone; zero: not within 20 s.
func (s *softphone) hearsAt(tone int) <-chan time.Time {
	at := make(chan time.Time, 1)
	go func() {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			rate, raw, err := s.recorded()
			if err != nil || len(raw) < rate/5 {
				continue
			}
			if share(linear(raw[len(raw)-rate/5:]), tone, rate) > 0.8 {
				at <- time.Now()
				return
			}
		}
		at <- time.Time{}
	}()
	return at
}

// hears waits until the phone hears the tone and hardly anything else.
func (s *softphone) hears(tone int) {
	s.t.Helper()
	eventually(s.t, 15*time.Second, fmt.Sprintf("%s hears %d Hz", s.account.Extension, tone), func() error {
		level, err := s.heard(tone)
		if err != nil {
			return err
		}
		if level < 0.8 {
			return fmt.Errorf("its share is %.2f", level)
		}
		return nil
	})
}

// goertzel is the squared magnitude of the samples' component at frequency (cycles per sample).
func goertzel(samples []float64, frequency float64) float64 {
	coefficient := 2 * math.Cos(2*math.Pi*frequency)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = x+coefficient*s1-s2, s1
	}
	return s1*s1 + s2*s2 - coefficient*s1*s2
}

// writeTone writes a mono 8 kHz 16 bit WAV file with a sine.
func writeTone(t *testing.T, file string, frequency int, length time.Duration) {
	t.Helper()
	const rate = 8000
	count := int(length.Seconds() * rate)
	data := make([]byte, 44+2*count)
	copy(data, "RIFF")
	binary.LittleEndian.PutUint32(data[4:], uint32(36+2*count))
	copy(data[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(data[16:], 16)
	binary.LittleEndian.PutUint16(data[20:], 1)
	binary.LittleEndian.PutUint16(data[22:], 1)
	binary.LittleEndian.PutUint32(data[24:], rate)
	binary.LittleEndian.PutUint32(data[28:], 2*rate)
	binary.LittleEndian.PutUint16(data[32:], 2)
	binary.LittleEndian.PutUint16(data[34:], 16)
	copy(data[36:], "data")
	binary.LittleEndian.PutUint32(data[40:], uint32(2*count))
	for i := range count {
		sample := int16(8000 * math.Sin(2*math.Pi*float64(frequency)*float64(i)/rate))
		binary.LittleEndian.PutUint16(data[44+2*i:], uint16(sample))
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Two softphones inside a branch and across the line, over each transport, with `terminal show` as their only help: the
// tone spoken at one end is the tone heard at the other, both ways; the hang-up ends both; the call is on record.
func TestSoftphonesTalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	for _, c := range []struct {
		name, transport      string
		calleeSite, wantPath string
		callee               string
	}{
		{"inside headquarters over UDP", "udp", "hq", "direct", "8002"},
		{"to a branch over UDP", "udp", "branch1", "relay", "2001"},
		{"to a branch over TCP", "tcp", "branch1", "relay", "2001"},
		{"to a branch over TLS", "tls", "branch1", "relay", "2001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := startAppliance(t, w.configure)
			caller := startSoftphone(t, w, "hq", a.account("8001"), c.transport, lowTone)
			callee := startSoftphone(t, w, c.calleeSite, a.account(c.callee), c.transport, highTone)
			caller.registeredAt(a, c.transport)
			callee.registeredAt(a, c.transport)

			caller.do("dial", "sip:"+c.callee+"@"+caller.account.Domain)
			caller.hears(highTone)
			callee.hears(lowTone)
			var list struct {
				Calls []struct {
					Path  string `json:"path"`
					State string `json:"state"`
				} `json:"calls"`
			}
			want := c.wantPath
			var status struct {
				KernelPath struct{ On bool } `json:"kernel_path"`
			}
			a.decode(&status, "status")
			if status.KernelPath.On && want == "relay" { // settled, it moves, and is heard as before
				want = "kernel"
				a.eventually(10*time.Second, "the call moved into the kernel", func() error {
					a.decode(&list, "call", "list")
					if len(list.Calls) != 1 || list.Calls[0].Path != want {
						return fmt.Errorf("calls: %+v", list.Calls)
					}
					return nil
				})
				caller.hears(highTone)
				callee.hears(lowTone)
			}
			a.decode(&list, "call", "list")
			if len(list.Calls) != 1 || list.Calls[0].Path != want || list.Calls[0].State != "established" {
				t.Fatalf("calls: %+v, want one established over path %s", list.Calls, want)
			}
			callee.do("hangup", "")
			a.eventually(5*time.Second, "the call ended and is on record", func() error {
				var export struct {
					CDRs []struct {
						From, To, Result string
						EndedBy          string `json:"ended_by"`
					} `json:"cdrs"`
				}
				a.decode(&export, "cdr", "export")
				if len(export.CDRs) != 1 || export.CDRs[0].Result != "answered" || export.CDRs[0].EndedBy != "callee" {
					return fmt.Errorf("records: %+v", export.CDRs)
				}
				return nil
			})
		})
	}
}

// What a caller hears of the appliance itself: an echo test returns what the softphone says, in each codec and with SRTP, from
// a branch over its line; it holds a call's room on the line meanwhile, and the record has its length.
func TestSoftphoneHearsItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	for name, codec := range map[string]string{"pcma": "pcma", "g722": "g722", "SRTP": "pcma;mediaenc=srtp-mand"} {
		t.Run(name, func(t *testing.T) {
			a := startAppliance(t, w.configure)
			acc := a.account("2001")
			phone := startBaresip(t, w, "branch1", acc, lowTone, "module g722.so\n", fmt.Sprintf(
				"<sip:%s@%s;transport=udp>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=udp\";answermode=auto;audio_codecs=%s;regint=120",
				acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.UDPPort, codec))
			phone.registeredAt(a, "udp")
			reserved := func() (up int64) {
				var list struct {
					Lines []struct {
						Site string `json:"site"`
						Up   struct {
							Reserved int64 `json:"reserved_bps"`
						} `json:"up"`
					} `json:"lines"`
				}
				a.decode(&list, "line", "list")
				for _, l := range list.Lines {
					if l.Site == "branch1" {
						up = l.Up.Reserved
					}
				}
				return up
			}
			before := reserved()
			phone.do("dial", "sip:*43@"+acc.Domain)
			phone.hears(lowTone)
			if reserved() <= before {
				t.Errorf("the line has %d bit/s reserved, %d before the call", reserved(), before)
			}
			phone.do("hangup", "")
			a.eventually(5*time.Second, "the test ended and is on record", func() error {
				var export struct {
					CDRs []struct{ Dialled, Result string } `json:"cdrs"`
				}
				a.decode(&export, "cdr", "export")
				if len(export.CDRs) != 1 || export.CDRs[0].Result != "answered" || export.CDRs[0].Dialled != "*43" {
					return fmt.Errorf("records: %+v", export.CDRs)
				}
				if reserved() > before {
					return fmt.Errorf("the line still has %d bit/s reserved", reserved())
				}
				return nil
			})
		})
	}
}
