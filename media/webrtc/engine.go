package webrtc

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/sdp/v3"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
)

// Direction of a connection's media, seen from the appliance.
type Direction uint8

// A connection receives or sends, never both.
const (
	Receive Direction = iota
	Send
)

// Payload types of our own offers. An answer keeps those of the offer.
const (
	PayloadOpus = 111
	PayloadVP8  = 96
	PayloadVP9  = 98
	PayloadH264 = 102
	PayloadAV1  = 45
	// Of telephones, as RFC 3551 §6 assigns them.
	PayloadPCMU = 0
	PayloadPCMA = 8
	PayloadG722 = 9
)

// video lists the codecs of cameras and content in the order of preference; each one's repair has the next payload type.
// VP8 comes first: every browser has it, so it is what a publisher sends until it is told otherwise.
var video = []struct {
	mime, parameters string
	payload          webrtc.PayloadType
}{
	{webrtc.MimeTypeVP8, "", PayloadVP8},
	{webrtc.MimeTypeVP9, "profile-id=0", PayloadVP9},
	// Constrained baseline, the profile that all browsers have (RFC 7742 §6.2).
	{webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", PayloadH264},
	{webrtc.MimeTypeAV1, "level-idx=5;profile=0;tier=0", PayloadAV1},
}

// AudioLevelURI is the header extension of RFC 6464.
const AudioLevelURI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

// Receiver takes what arrives on one connection. Each method is called once per SSRC and returns the function for the packets
// of that stream. RTP packets of all streams arrive on one goroutine, RTCP on another one; a packet is borrowed until the
// function returns, and may be changed in place until then. A compound RTCP packet arrives in parts, each part once per SSRC
// that it speaks of.
type Receiver interface {
	RTP(ssrc uint32) func(packet []byte)
	RTCP(ssrc uint32) func(packet []byte)
}

// NewConnection makes a PeerConnection on the shared ports. The caller owns it and closes it, never inside one of its callbacks.
func (p *Plane) NewConnection(direction Direction, receiver Receiver) (*webrtc.PeerConnection, error) {
	cert, err := p.certificate(time.Now())
	if err != nil {
		return nil, err
	}
	media, err := mediaEngine(direction)
	if err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}),
		webrtc.WithSettingEngine(p.settings(receiver)),
	)
	pc, err := api.NewPeerConnection(webrtc.Configuration{
		BundlePolicy:  webrtc.BundlePolicyMaxBundle,
		RTCPMuxPolicy: webrtc.RTCPMuxPolicyRequire,
		Certificates:  []webrtc.Certificate{cert},
	})
	if err != nil {
		return nil, fmt.Errorf("peer connection: %w", err)
	}
	return pc, nil
}

func (p *Plane) settings(receiver Receiver) webrtc.SettingEngine {
	s := webrtc.SettingEngine{LoggerFactory: p.loggers}
	s.SetICEUDPMux(p.udp)
	if p.tcp != nil {
		s.SetICETCPMux(p.tcp)
	}
	s.SetNetworkTypes(p.networks)
	s.SetIPFilter(p.advertised)
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.DisableActiveTCP(true)
	// A venue that is silent for 5 s is disconnected, for 20 s failed: longer than the 10 s that a participant is kept.
	s.SetICETimeouts(5*time.Second, 20*time.Second, 2*time.Second)
	s.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.SetReceiveMTU(receiveMTU)
	s.SetIgnoreRidPauseForRecv(true)
	s.BufferFactory = func(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
		if kind == packetio.RTPBufferPacket {
			return sink{receiver.RTP(ssrc)}
		}
		return sink{receiver.RTCP(ssrc)}
	}
	if len(p.rewrite) > 0 {
		// The error is only about rules that contradict each other; ours is one.
		_ = s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{External: p.rewrite, AsCandidateType: webrtc.ICECandidateTypeHost})
	}
	return s
}

// sink takes the place of pion's packet buffers: a packet is handled where it was decrypted, nothing waits to be read. Pion's
// own readers (which look for the RID of an unknown stream) find the end of the file at once and go away; the receiver reads
// MID, RID and repaired RID itself, from the packets.
type sink struct{ take func([]byte) }

func (s sink) Write(b []byte) (int, error) { s.take(b); return len(b), nil }
func (s sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (s sink) Close() error                { return nil }

// SetReadDeadline is looked for by pion.
func (s sink) SetReadDeadline(time.Time) error { return nil }

// mediaEngine lists what we negotiate.
func mediaEngine(direction Direction) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	// Transport-wide feedback both ways (ADR 0010, 0038); a REMB where a subscriber sends none.
	transport := webrtc.RTCPFeedback{Type: "transport-cc"}
	feedback = append(feedback, transport)
	audioFeedback := []webrtc.RTCPFeedback{transport}
	if direction == Send {
		feedback = append(feedback, webrtc.RTCPFeedback{Type: "goog-remb"})
	}
	errs := []error{
		m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
				SDPFmtpLine: "minptime=10;useinbandfec=1", RTCPFeedback: audioFeedback,
			},
			PayloadType: PayloadOpus,
		}, webrtc.RTPCodecTypeAudio),
	}
	for _, v := range video {
		errs = append(errs, m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: v.mime, ClockRate: 90000, SDPFmtpLine: v.parameters, RTCPFeedback: feedback},
			PayloadType:        v.payload,
		}, webrtc.RTPCodecTypeVideo), m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", v.payload)},
			PayloadType:        v.payload + 1,
		}, webrtc.RTPCodecTypeVideo))
	}
	if direction == Send {
		errs = append(errs, phoneCodecs(m))
	}
	for _, e := range extensions(direction) {
		errs = append(errs, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: e.uri}, e.kind))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("media engine: %w", err)
	}
	return m, nil
}

type extension struct {
	uri  string
	kind webrtc.RTPCodecType
}

// extensions are the header extensions of a direction.
func extensions(direction Direction) []extension {
	list := []extension{{sdp.TransportCCURI, webrtc.RTPCodecTypeVideo}, {sdp.TransportCCURI, webrtc.RTPCodecTypeAudio}}
	if direction == Receive {
		list = append(list,
			extension{sdp.SDESMidURI, webrtc.RTPCodecTypeAudio},
			extension{sdp.SDESMidURI, webrtc.RTPCodecTypeVideo},
			extension{sdp.SDESRTPStreamIDURI, webrtc.RTPCodecTypeVideo},
			extension{sdp.SDESRepairRTPStreamIDURI, webrtc.RTPCodecTypeVideo},
			extension{AudioLevelURI, webrtc.RTPCodecTypeAudio},
		)
	}
	return list
}

// phoneCodecs are offered to subscribers, which every browser decodes (RFC 7874 §3; G.722 beside): a telephone's voice reaches
// them as it is. Nobody may publish in them.
func phoneCodecs(m *webrtc.MediaEngine) error {
	var errs []error
	for _, c := range []struct {
		mime string
		t    webrtc.PayloadType
	}{{webrtc.MimeTypeG722, PayloadG722}, {webrtc.MimeTypePCMU, PayloadPCMU}, {webrtc.MimeTypePCMA, PayloadPCMA}} {
		errs = append(errs, m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: c.mime, ClockRate: 8000}, PayloadType: c.t,
		}, webrtc.RTPCodecTypeAudio))
	}
	return errors.Join(errs...)
}
