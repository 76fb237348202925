package venue

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Subprotocol of the room signalling.
const Subprotocol = "linehall.room.v1"

var errLink = errors.New("not a room link (https://HOST/room/NUMBER#venue=ID&token=...)")

// Link is what `linehall room link` prints: where, as whom, and the right to.
type Link struct {
	Base  *url.URL // scheme and host
	Room  string
	Venue string
	Token string
}

// ParseLink reads a room link. The secret is in the fragment, which no server ever sees.
func ParseLink(text string) (Link, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return Link{}, errLink // the error of url.Parse would repeat the token
	}
	room, ok := strings.CutPrefix(u.Path, "/room/")
	values, err := url.ParseQuery(u.Fragment)
	if err != nil || !ok || room == "" || u.Host == "" || values.Get("venue") == "" || values.Get("token") == "" {
		return Link{}, errLink
	}
	return Link{
		Base: &url.URL{Scheme: u.Scheme, Host: u.Host}, Room: room, Venue: values.Get("venue"), Token: values.Get("token"),
	}, nil
}

// newClient returns an HTTP client that speaks from the venue's own address.
func newClient(bind netip.Addr, config *tls.Config) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("cookies: %w", err)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if bind.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(bind, 0))
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: 5 * time.Second,
	}}, nil
}

// enter exchanges the token for the device cookie.
func (l Link) enter(ctx context.Context, client *http.Client) error {
	body, err := json.Marshal(map[string]string{"venue": l.Venue, "token": l.Token})
	if err != nil {
		return fmt.Errorf("device token: %w", err)
	}
	target := l.Base.JoinPath("api/v1/rooms", l.Room, "device")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("device token: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", l.Base.String()) // as the room page would
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("device token: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read below
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return fmt.Errorf("device token: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("device token: %s: %s", res.Status, bytes.TrimSpace(text))
	}
	return nil
}

// dial opens the signalling WebSocket.
func (l Link) dial(ctx context.Context, client *http.Client) (*websocket.Conn, error) {
	target := l.Base.JoinPath("api/v1/rooms", l.Room, "signal")
	conn, res, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{"Origin": {l.Base.String()}},
	})
	if err != nil {
		if res != nil {
			return nil, fmt.Errorf("signalling: %s: %w", res.Status, err)
		}
		return nil, fmt.Errorf("signalling: %w", err)
	}
	const largest = 256 << 10
	conn.SetReadLimit(largest)
	return conn, nil
}

// Connect enters with the link's token and opens the signalling, for clients that speak it themselves.
func Connect(ctx context.Context, l Link, bind netip.Addr, config *tls.Config) (*websocket.Conn, error) {
	client, err := newClient(bind, config)
	if err != nil {
		return nil, err
	}
	if err := l.enter(ctx, client); err != nil {
		return nil, err
	}
	return l.dial(ctx, client)
}
