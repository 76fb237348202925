package discover

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// TFTP fetches tftp:// addresses for an http.Client (RFC 1350, with blksize and tsize of RFC 2348 and 2349): a file that is
// not there is a 404. Phones without a file name of their own in mind ask at port 69.
type TFTP struct {
	Bind netip.Addr
	Port int // 0 = 69; for servers that may not use it
}

const (
	tftpWait  = 2 * time.Second
	tftpTries = 5
	tftpBlock = 1024
	tftpMost  = 16 << 20
)

var errTFTP = errors.New("tftp")

// RoundTrip makes it an http.RoundTripper.
func (t TFTP) RoundTrip(req *http.Request) (*http.Response, error) {
	content, found, err := t.fetch(req.Context(), req.URL.Host, strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil {
		return nil, err
	}
	res := &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "TFTP", Header: http.Header{}, Request: req,
		Body: io.NopCloser(bytes.NewReader(content)), ContentLength: int64(len(content)),
	}
	if !found {
		res.StatusCode, res.Status = http.StatusNotFound, "404 Not Found"
	}
	return res, nil
}

func (t TFTP) fetch(ctx context.Context, host, name string) (content []byte, found bool, err error) {
	if _, _, err := net.SplitHostPort(host); err != nil {
		port := 69
		if t.Port != 0 {
			port = t.Port
		}
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	server, err := net.ResolveUDPAddr("udp4", host)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errTFTP, err)
	}
	bind := "0.0.0.0:0"
	if t.Bind.IsValid() {
		bind = netip.AddrPortFrom(t.Bind, 0).String()
	}
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp4", bind)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errTFTP, err)
	}
	defer conn.Close() //nolint:errcheck // a datagram socket has nothing left to say
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := fmt.Appendf(nil, "\x00\x01%s\x00octet\x00blksize\x00%d\x00tsize\x000\x00", name, tftpBlock)
	return (&download{conn: conn, server: server, last: request, to: server, block: 512}).run(ctx)
}

// download is one transfer.
type download struct {
	conn   net.PacketConn
	server *net.UDPAddr
	to     net.Addr // the server's port of this transfer, once it has answered
	last   []byte   // repeated when nothing comes
	block  int
	got    uint16
	data   []byte
}

func (d *download) run(ctx context.Context) (content []byte, found bool, err error) {
	if err := d.send(d.last); err != nil {
		return nil, false, err
	}
	buffer := make([]byte, 65536)
	for tries := 0; tries < tftpTries; {
		if err := d.conn.SetReadDeadline(time.Now().Add(tftpWait)); err != nil {
			return nil, false, err
		}
		n, from, err := d.conn.ReadFrom(buffer)
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		if err != nil {
			tries++
			if err := d.send(d.last); err != nil {
				return nil, false, err
			}
			continue
		}
		if n < 4 || !d.fromServer(from) {
			continue
		}
		d.to = from
		switch binary.BigEndian.Uint16(buffer) {
		case 5:
			if binary.BigEndian.Uint16(buffer[2:]) == 1 {
				return nil, false, nil
			}
			return nil, false, fmt.Errorf("%w: error %d: %s", errTFTP, binary.BigEndian.Uint16(buffer[2:]), bytes.TrimRight(buffer[4:n], "\x00"))
		case 6:
			d.block = accepted(buffer[2:n])
			tries, err = 0, d.acknowledge(0)
		case 3:
			if binary.BigEndian.Uint16(buffer[2:]) != d.got+1 {
				continue // a repetition
			}
			d.got++
			d.data = append(d.data, buffer[4:n]...)
			tries, err = 0, d.acknowledge(d.got)
			if err == nil && n-4 < d.block {
				return d.data, true, nil
			}
			if len(d.data) > tftpMost {
				return nil, false, fmt.Errorf("%w: more than %d bytes", errTFTP, tftpMost)
			}
		}
		if err != nil {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("%w: %w", errTFTP, ErrSilence)
}

// fromServer keeps to the port that the server has chosen.
func (d *download) fromServer(from net.Addr) bool {
	at, ok := from.(*net.UDPAddr)
	return ok && at.IP.Equal(d.server.IP) && (d.to == net.Addr(d.server) || from.String() == d.to.String())
}

func (d *download) acknowledge(block uint16) error {
	d.last = binary.BigEndian.AppendUint16([]byte{0, 4}, block)
	return d.send(d.last)
}

func (d *download) send(b []byte) error {
	if _, err := d.conn.WriteTo(b, d.to); err != nil {
		return fmt.Errorf("%w: %w", errTFTP, err)
	}
	return nil
}

// accepted is the block size of an OACK.
func accepted(options []byte) int {
	parts := strings.Split(string(options), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		if n, err := strconv.Atoi(parts[i+1]); err == nil && strings.EqualFold(parts[i], "blksize") {
			return n
		}
	}
	return 512
}
