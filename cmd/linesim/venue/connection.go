package venue

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// engine registers the codecs and extensions of a native venue: Opus and VP8 with RTX, nothing to choose between.
func engine(publish bool) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{
		{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "transport-cc"},
	}
	codecs := []struct {
		kind  webrtc.RTPCodecType
		codec webrtc.RTPCodecParameters
	}{
		{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: voiceClock, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		}}},
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: videoClock, RTCPFeedback: feedback,
		}}},
		{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecParameters{PayloadType: 97, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: videoClock, SDPFmtpLine: "apt=96",
		}}},
	}
	for _, c := range codecs {
		if err := m.RegisterCodec(c.codec, c.kind); err != nil {
			return nil, fmt.Errorf("codec %s: %w", c.codec.MimeType, err)
		}
	}
	audio := []string{midURI, audioLevelURI}
	video := []string{midURI, ridURI, repairedRIDURI}
	if !publish { // as a publisher we have no estimator, so we do not promise transport-wide numbers
		audio, video = append(audio, transportCCURI), append(video, transportCCURI)
	}
	for kind, uris := range map[webrtc.RTPCodecType][]string{webrtc.RTPCodecTypeAudio: audio, webrtc.RTPCodecTypeVideo: video} {
		for _, uri := range uris {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, fmt.Errorf("extension %s: %w", uri, err)
			}
		}
	}
	return m, nil
}

// api builds one connection's pion on a UDP socket of its own at the venue's address. The two connections of a venue
// must not share a socket: both talk to the server's one port, and pion tells connections of a socket apart by the
// remote address.
func (s *session) api(address netip.Addr, build func(webrtc.SettingEngine) (*webrtc.API, error)) (*webrtc.API, error) {
	socket, err := bindMedia(address)
	if err != nil {
		return nil, err
	}
	// pion logs every socket that is closed as an error; what matters comes back as errors and states.
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	settings := webrtc.SettingEngine{LoggerFactory: quiet}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	mux := webrtc.NewICEUDPMux(quiet.NewLogger("ice"), mark(socket))
	settings.SetICEUDPMux(mux)
	s.sockets = append(s.sockets, mux, socket)
	return build(settings)
}

// bindMedia opens the venue's media socket with buffers for bursts of keyframes from all others.
func bindMedia(address netip.Addr) (*net.UDPConn, error) {
	const buffer = 4 << 20
	if !address.IsValid() {
		address = netip.IPv4Unspecified()
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
	if err != nil {
		return nil, fmt.Errorf("media socket: %w", err)
	}
	_ = conn.SetReadBuffer(buffer) // the kernel may grant less; loss would show in the report
	_ = conn.SetWriteBuffer(buffer)
	return conn, nil
}

// publishAPI has no interceptors: feedback is answered by this package.
func publishAPI(s webrtc.SettingEngine) (*webrtc.API, error) {
	m, err := engine(true)
	if err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}

// subscribeAPI has pion's receiver side: NACK, receiver reports, transport-wide feedback.
func subscribeAPI(s webrtc.SettingEngine) (*webrtc.API, error) {
	m, err := engine(false)
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	// Browsers look for gaps every 20 ms and ask ten times for one; pion looks every 100 and asks without end.
	const nackInterval, nackTries = 20 * time.Millisecond, 10
	generator, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(nackInterval), nack.GeneratorMaxNacksPerPacket(nackTries))
	if err != nil {
		return nil, fmt.Errorf("interceptors: %w", err)
	}
	registry.Add(generator)
	if err := webrtc.ConfigureRTCPReports(registry); err != nil {
		return nil, fmt.Errorf("interceptors: %w", err)
	}
	if err := webrtc.ConfigureTWCCSender(m, registry); err != nil {
		return nil, fmt.Errorf("interceptors: %w", err)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(registry)), nil
}
