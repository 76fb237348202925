package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ng speaks rtpengine's control protocol: a cookie, a blank and a bencoded dictionary in one datagram.
type ng struct{ conn *net.UDPConn }

var errNG = errors.New("rtpengine control")

func (n *network) dialNG(to netip.AddrPort) (*ng, error) {
	var conn *net.UDPConn
	if err := n.inside(to.Addr(), func() (err error) {
		conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		return err
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", errNG, err)
	}
	return &ng{conn: conn}, nil
}

// ask sends one command; every value is a string here.
func (n *ng) ask(fields ...string) (map[string]string, error) {
	cookie := unique()
	var b strings.Builder
	b.WriteString(cookie + " d")
	for _, f := range fields {
		b.WriteString(strconv.Itoa(len(f)) + ":" + f)
	}
	b.WriteString("e")
	buf := make([]byte, 65536)
	for range 3 { // the protocol leaves repetition to the client
		if _, err := n.conn.Write([]byte(b.String())); err != nil {
			return nil, fmt.Errorf("%w: %w", errNG, err)
		}
		if err := n.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, fmt.Errorf("%w: %w", errNG, err)
		}
		size, err := n.conn.Read(buf)
		if err != nil {
			continue
		}
		body, ok := strings.CutPrefix(string(buf[:size]), cookie+" ")
		if !ok {
			continue
		}
		answer, err := bdecode(body)
		if err != nil {
			return nil, err
		}
		if result := answer["result"]; result != "ok" && result != "pong" {
			return nil, fmt.Errorf("%w: %s %s", errNG, result, answer["error-reason"])
		}
		return answer, nil
	}
	return nil, fmt.Errorf("%w: %w", errNG, errTimeout)
}

// bdecode reads a dictionary and keeps its string values; nested values are skipped.
func bdecode(text string) (map[string]string, error) {
	if !strings.HasPrefix(text, "d") {
		return nil, fmt.Errorf("%w: not a dictionary", errNG)
	}
	rest := text[1:]
	fields := make(map[string]string)
	for rest != "" && rest[0] != 'e' {
		name, after, err := bstring(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			if fields[name], rest, err = bstring(rest); err != nil {
				return nil, err
			}
			continue
		}
		if rest, err = bskip(rest, 0); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func bstring(text string) (value, rest string, err error) {
	length, after, ok := strings.Cut(text, ":")
	n, convErr := strconv.Atoi(length)
	if !ok || convErr != nil || n < 0 || n > len(after) {
		return "", "", fmt.Errorf("%w: bad string", errNG)
	}
	return after[:n], after[n:], nil
}

// bskip steps over one value of any kind.
func bskip(text string, depth int) (rest string, err error) {
	const deepest = 16
	if text == "" || depth > deepest {
		return "", fmt.Errorf("%w: cut short", errNG)
	}
	switch text[0] {
	case 'i':
		_, rest, ok := strings.Cut(text, "e")
		if !ok {
			return "", fmt.Errorf("%w: bad number", errNG)
		}
		return rest, nil
	case 'l', 'd':
		rest = text[1:]
		for rest != "" && rest[0] != 'e' {
			if rest, err = bskip(rest, depth+1); err != nil {
				return "", err
			}
		}
		return strings.TrimPrefix(rest, "e"), nil
	}
	_, rest, err = bstring(text)
	return rest, err
}

// rtpengineTarget relays through rtpengine: offer and answer per call, as a proxy would have it.
func (p Peers) rtpengineTarget(proc *process, control netip.AddrPort) RelayTarget {
	return RelayTarget{Name: "rtpengine", process: proc, control: control, path: func(_ context.Context, g *generator) (func(), error) {
		n, err := p.network.dialNG(control)
		if err != nil {
			return nil, err
		}
		run := unique()
		for i := 0; i < len(g.parties); i += 2 {
			toA, toB, err := n.connect(run+"-"+strconv.Itoa(i), g.parties[i].local, g.parties[i+1].local)
			if err != nil {
				return nil, errors.Join(err, n.conn.Close())
			}
			g.aim(i, toA)
			g.aim(i+1, toB)
		}
		return func() {
			for i := 0; i < len(g.parties); i += 2 {
				_, _ = n.ask("call-id", run+"-"+strconv.Itoa(i), "command", "delete", "from-tag", "a") // it is stopped afterwards anyway
			}
			_ = n.conn.Close()
		}, nil
	}}
}

// connect opens one session; a sends to the port of the answer, b to that of the offer.
func (n *ng) connect(id string, a, b netip.AddrPort) (aSends, bSends netip.AddrPort, err error) {
	offer, err := n.ask("call-id", id, "command", "offer", "from-tag", "a", "sdp", audio(a))
	if err != nil {
		return aSends, bSends, fmt.Errorf("offer: %w", err)
	}
	answer, err := n.ask("call-id", id, "command", "answer", "from-tag", "a", "sdp", audio(b), "to-tag", "b")
	if err != nil {
		return aSends, bSends, fmt.Errorf("answer: %w", err)
	}
	if bSends, err = audioAddress(offer["sdp"]); err != nil {
		return aSends, bSends, err
	}
	aSends, err = audioAddress(answer["sdp"])
	return aSends, bSends, err
}

func audio(at netip.AddrPort) string {
	ip, port := at.Addr().String(), strconv.Itoa(int(at.Port()))
	return "v=0\r\no=- 1 1 IN IP4 " + ip + "\r\ns=-\r\nc=IN IP4 " + ip + "\r\nt=0 0\r\nm=audio " + port + " RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
}

func audioAddress(sdp string) (netip.AddrPort, error) {
	var ip netip.Addr
	port := 0
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if value, ok := strings.CutPrefix(line, "c=IN IP4 "); ok {
			ip, _ = netip.ParseAddr(strings.TrimSpace(value)) // checked below
		}
		if value, ok := strings.CutPrefix(line, "m=audio "); ok {
			first, _, _ := strings.Cut(value, " ")
			port, _ = strconv.Atoi(first) // checked below
		}
	}
	if !ip.IsValid() || port <= 0 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("%w: no audio address in its answer", errNG)
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}
