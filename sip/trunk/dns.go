package trunk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// systemDNS asks the machine's resolver, so that its hosts file and its settings count. That one
// does not know NAPTR, so these records are asked for by hand at the name servers of resolvConf.
type systemDNS struct {
	resolver   *net.Resolver
	resolvConf string
}

// SystemDNS is the resolver of the machine.
func SystemDNS() DNS { return systemDNS{resolver: net.DefaultResolver, resolvConf: "/etc/resolv.conf"} }

// SRV looks the whole name up.
func (s systemDNS) SRV(ctx context.Context, name string) ([]SRV, error) {
	// A partly bad answer comes with an error and with the good records.
	_, found, err := s.resolver.LookupSRV(ctx, "", "", absolute(name))
	records := make([]SRV, 0, len(found))
	for _, r := range found {
		records = append(records, SRV{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: r.Target})
	}
	if len(records) > 0 || notFound(err) {
		return records, nil
	}
	return nil, err //nolint:wrapcheck // a DNSError names the question
}

// Addresses looks up both families.
func (s systemDNS) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := s.resolver.LookupNetIP(ctx, "ip", host)
	if notFound(err) {
		return nil, nil
	}
	return found, err //nolint:wrapcheck // a DNSError names the question
}

func notFound(err error) bool {
	var failed *net.DNSError
	return errors.As(err, &failed) && failed.IsNotFound
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

const (
	typeNAPTR     dnsmessage.Type = 35 // RFC 3403 §4.1
	mostServers                   = 3  // as the C library takes from resolv.conf
	serverTime                    = 1500 * time.Millisecond
	longestAnswer                 = 65535
	edns0Size                     = 1232
)

// NAPTR asks each name server in turn until one answers.
func (s systemDNS) NAPTR(ctx context.Context, name string) ([]NAPTR, error) {
	servers, err := nameServers(s.resolvConf)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, server := range servers {
		records, err := askNAPTR(ctx, server, name)
		if err == nil {
			return records, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", server, err))
	}
	return nil, failed
}

// nameServers reads resolv.conf(5).
func nameServers(path string) ([]string, error) {
	content, err := os.ReadFile(path) //nolint:gosec // a constant outside of tests
	if err != nil {
		return nil, fmt.Errorf("name servers: %w", err)
	}
	var servers []string
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan() && len(servers) < mostServers; {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53).String())
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("no name server in " + path)
	}
	return servers, nil
}

// askNAPTR asks one server over UDP, and over TCP when the answer did not fit.
func askNAPTR(ctx context.Context, server, name string) ([]NAPTR, error) {
	id := uint16(rand.Uint32()) //nolint:gosec // with the socket's random port, as good as the system's resolver
	question, err := naptrQuestion(id, name)
	if err != nil {
		return nil, err
	}
	answer, err := exchange(ctx, "udp", server, question)
	if err != nil {
		return nil, err
	}
	records, truncated, err := parseNAPTR(answer, id)
	if err != nil || !truncated {
		return records, err
	}
	if answer, err = exchange(ctx, "tcp", server, question); err != nil {
		return nil, err
	}
	records, _, err = parseNAPTR(answer, id)
	return records, err
}

func naptrQuestion(id uint16, name string) ([]byte, error) {
	asked, err := dnsmessage.NewName(absolute(name))
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	b.EnableCompression()
	var header dnsmessage.ResourceHeader
	if err := errors.Join(
		b.StartQuestions(),
		b.Question(dnsmessage.Question{Name: asked, Type: typeNAPTR, Class: dnsmessage.ClassINET}),
		b.StartAdditionals(),
		header.SetEDNS0(edns0Size, dnsmessage.RCodeSuccess, false),
		b.OPTResource(header, dnsmessage.OPTResource{}),
	); err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	return b.Finish() //nolint:wrapcheck // cannot fail after the steps above
}

func exchange(ctx context.Context, network, server string, question []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err //nolint:wrapcheck // NAPTR names the server
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err //nolint:wrapcheck // see above
	}
	if network == "tcp" {
		question = append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...) //nolint:gosec // a question has under 300 bytes
	}
	if _, err := conn.Write(question); err != nil {
		return nil, err //nolint:wrapcheck // see above
	}
	if network == "tcp" {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return nil, err //nolint:wrapcheck // see above
		}
		answer := make([]byte, binary.BigEndian.Uint16(length[:]))
		_, err := io.ReadFull(conn, answer)
		return answer, err //nolint:wrapcheck // see above
	}
	answer := make([]byte, longestAnswer)
	n, err := conn.Read(answer)
	return answer[:n], err //nolint:wrapcheck // see above
}

// parseNAPTR reads an answer from the network. Records that are damaged or of another type are
// skipped, an answer to another question is an error.
func parseNAPTR(message []byte, id uint16) (records []NAPTR, truncated bool, err error) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil {
		return nil, false, fmt.Errorf("dns answer: %w", err)
	}
	switch {
	case !header.Response || header.ID != id:
		return nil, false, errors.New("dns answer: to another question")
	case header.RCode == dnsmessage.RCodeNameError:
		return nil, false, nil
	case header.RCode != dnsmessage.RCodeSuccess:
		return nil, false, fmt.Errorf("dns answer: %s", header.RCode)
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, false, fmt.Errorf("dns answer: %w", err)
	}
	for len(records) < mostRecords {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return records, header.Truncated, fmt.Errorf("dns answer: %w", err)
		}
		if h.Type != typeNAPTR || h.Class != dnsmessage.ClassINET {
			err = p.SkipAnswer()
		} else {
			var body dnsmessage.UnknownResource
			if body, err = p.UnknownResource(); err == nil {
				if record, ok := naptrOf(body.Data); ok {
					records = append(records, record)
				}
			}
		}
		if err != nil {
			return records, header.Truncated, fmt.Errorf("dns answer: %w", err)
		}
	}
	return records, header.Truncated, nil
}

// naptrOf reads the body of a record:
//
//	order 16 | preference 16 | flags | service | regexp (each: length 8, text) | replacement (labels)
//
// The replacement is not compressed (RFC 3403 §4.1).
func naptrOf(b []byte) (NAPTR, bool) {
	if len(b) < 4 {
		return NAPTR{}, false
	}
	n := NAPTR{Order: binary.BigEndian.Uint16(b), Preference: binary.BigEndian.Uint16(b[2:])}
	b = b[4:]
	var text [3]string
	for i := range text {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return NAPTR{}, false
		}
		text[i], b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	n.Flags, n.Service = text[0], text[1]
	var labels []string
	for len(b) > 0 && b[0] != 0 {
		length := int(b[0])
		if length > 63 || len(b) < 1+length {
			return NAPTR{}, false
		}
		labels, b = append(labels, string(b[1:1+length])), b[1+length:]
	}
	if len(b) == 0 {
		return NAPTR{}, false
	}
	n.Into = strings.Join(labels, ".")
	return n, n.Into == "" || validHost(n.Into)
}
