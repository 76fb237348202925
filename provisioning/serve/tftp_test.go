package serve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"linehall/provisioning/phone/yealink"
)

// tftp is a phone's TFTP client, written from RFC 1350 and 2347.
type tftp struct {
	t      *testing.T
	conn   net.PacketConn
	server net.Addr
	block  int
}

// startTFTP runs the server's TFTP on the address and returns a client at
// another.
func startTFTP(t *testing.T, x *exchange, address, client string) *tftp {
	t.Helper()
	listen := new(net.ListenConfig)
	socket, err := listen.ListenPacket(t.Context(), "udp", address)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.server.RunTFTP(ctx, socket) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn, err := listen.ListenPacket(t.Context(), "udp4", client+":0")
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	port := socket.LocalAddr().(*net.UDPAddr).Port
	return &tftp{t: t, conn: conn, server: &net.UDPAddr{IP: net.ParseIP("127.0.0.1"), Port: port}, block: 512}
}

func (c *tftp) request(opcode byte, parts ...string) {
	c.t.Helper()
	_, err := c.conn.WriteTo([]byte("\x00"+string(opcode)+strings.Join(parts, "\x00")+"\x00"), c.server)
	must(c.t, err)
}

func (c *tftp) receive() ([]byte, net.Addr) {
	c.t.Helper()
	buffer := make([]byte, 2048)
	must(c.t, c.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	n, from, err := c.conn.ReadFrom(buffer)
	must(c.t, err)
	return buffer[:n], from
}

func (c *tftp) ack(to net.Addr, block uint16) {
	c.t.Helper()
	_, err := c.conn.WriteTo(binary.BigEndian.AppendUint16([]byte{0, 4}, block), to)
	must(c.t, err)
}

// fetch reads a whole file and returns it with the options that were accepted.
func (c *tftp) fetch(name string, options ...string) (content []byte, accepted string) {
	c.t.Helper()
	c.request(1, append([]string{name, "octet"}, options...)...)
	for next := uint16(1); ; {
		datagram, from := c.receive()
		if from.String() == c.server.String() || from.(*net.UDPAddr).IP.String() != "127.0.0.1" {
			c.t.Fatalf("answer from %s: want a new port of the address asked", from)
		}
		switch opcode := binary.BigEndian.Uint16(datagram); {
		case opcode == 6:
			accepted = strings.ReplaceAll(string(datagram[2:]), "\x00", " ")
			c.ack(from, 0)
		case opcode == 3 && binary.BigEndian.Uint16(datagram[2:]) == next:
			content = append(content, datagram[4:]...)
			c.ack(from, next)
			c.ack(from, next) // a second one must not double anything
			if next++; len(datagram)-4 < c.block {
				return content, accepted
			}
		case opcode == 3: // a retransmission
		default:
			c.t.Fatalf("datagram %q", datagram)
		}
	}
}

func TestTFTPServesTheBootstrapOnly(t *testing.T) {
	x := newExchange(t)
	x.open()
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		client := startTFTP(t, x, address, branch)
		content, accepted := client.fetch(oursFile)
		if _, err := (yealink.Brand{}).Parse(content); err != nil || accepted != "" {
			t.Errorf("%v, options %q, file:\n%s", err, accepted, content)
		}
		x.wantNoSecret("TFTP", reply{body: string(content)})
		client.block = 1428
		again, accepted := client.fetch("/"+oursFile, "blksize", "8192", "tsize", "0", "multicast", "", "timeout", "2")
		if !bytes.Equal(content, again) || !strings.HasPrefix(accepted, "blksize 1428 timeout 2 tsize ") {
			t.Errorf("options %q", accepted)
		}
	}
}

func TestTFTPRefusesTheRest(t *testing.T) {
	x := newExchange(t)
	client := startTFTP(t, x, "127.0.0.1:0", branch)
	for name, want := range map[string]string{
		"001565999999.cfg": "\x00\x05\x00\x01not found\x00", "../../etc/passwd": "\x00\x05\x00\x01not found\x00",
		"a\\b": "\x00\x05\x00\x01not found\x00",
	} {
		client.request(1, name, "octet")
		if got, _ := client.receive(); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	client.request(2, "x.cfg", "octet")
	if got, _ := client.receive(); string(got) != "\x00\x05\x00\x02read only\x00" {
		t.Errorf("write: %q", got)
	}
	// No answer at all to what is no request, and to a stranger's address.
	client.request(1, "x.cfg", "mail")
	client.request(1, "x.cfg")
	_, err := client.conn.WriteTo([]byte("\x00\x01x"), client.server)
	must(t, err)
	stranger := startTFTP(t, x, "127.0.0.1:0", outside)
	stranger.server = client.server
	stranger.request(1, oursFile, "octet")
	client.request(1, "last.cfg", "octet")
	if got, _ := client.receive(); !bytes.Contains(got, []byte("not found")) {
		t.Errorf("the garbage was answered: %q", got)
	}
}

func TestTFTPSendsALostBlockAgain(t *testing.T) {
	x := newExchange(t)
	client := startTFTP(t, x, "127.0.0.1:0", branch)
	client.request(1, oursFile, "octet", "timeout", "1")
	oack, from := client.receive()
	client.ack(from, 0)
	first, _ := client.receive()
	second, _ := client.receive() // nobody acknowledged the first
	if oack[1] != 6 || !bytes.Equal(first, second) {
		t.Errorf("%q, then %q and %q", oack, first, second)
	}
	_, err := client.conn.WriteTo([]byte("\x00\x05\x00\x00bye\x00"), from)
	must(t, err)
}
