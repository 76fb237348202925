package test

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whoever sends nonsense to any port changes nothing for the others, and what was thrown away is counted.
func TestGarbageOnEveryPort(t *testing.T) {
	a := startAppliance(t)
	noise := make([]byte, 65000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	halfMessage := []byte("INVITE sip:8001@linehall.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:x")
	insane := []byte("INVITE sip:8001@linehall.test SIP/2.0\r\nContent-Length: -1\r\nVia: ;;;\r\nCSeq: 99999999999999999999 X\r\n\r\n")

	udp := []int{a.ports.sip, a.ports.media, a.ports.rtpFirst}
	for _, port := range udp {
		connection, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			for _, message := range [][]byte{noise[:1+i*7], halfMessage, insane, noise} {
				_, _ = connection.Write(message) // a refusal (ICMP) is as good as silence
			}
		}
		connection.Close()
	}
	// Connections that begin and never end: one byte, then silence.
	tcp := []int{a.ports.sip, a.ports.tls, a.ports.https, a.ports.provisioning, a.ports.media, a.ports.metrics}
	for _, port := range tcp {
		for i := range 40 {
			connection, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
			if err != nil {
				t.Fatalf("port %d, connection %d: %v", port, i, err)
			}
			t.Cleanup(func() { connection.Close() })
			switch i % 4 {
			case 0:
				_, _ = connection.Write([]byte("I"))
			case 1:
				_, _ = connection.Write(halfMessage)
			case 2:
				_, _ = connection.Write(noise)
			case 3:
				_, _ = connection.Write([]byte("GET /api/v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"))
			}
		}
	}
	// Half a TLS record after a good handshake.
	for _, port := range []int{a.ports.tls, a.ports.https} {
		connection, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("TLS port %d does not answer among idle connections: %v", port, err)
		}
		t.Cleanup(func() { connection.Close() })
		_, _ = connection.Write(halfMessage)
	}

	// The appliance goes on serving: pages, registrations, and calls.
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/", a.ports.https))
	if err != nil {
		t.Fatalf("console: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("console: %s", response.Status)
	}
	a.registerAll([]account{a.account("8001")}, "127.0.0.2", phonePort(t), "u1")
	a.registerAll([]account{a.account("8002")}, "127.0.0.2", phonePort(t), "t1")
	for _, listener := range []string{"sip_udp", "sip_tcp", "sip_tls"} {
		if a.metric("linehall_dropped_total", `listener="`+listener+`"`) == 0 {
			t.Errorf("nothing counted as dropped on %s", listener)
		}
	}
	if panics := a.metric("linehall_panics_total"); panics != 0 {
		t.Errorf("%v panics", panics)
	}
	if strings.Contains(a.output.String(), "panic") {
		t.Error("the output speaks of a panic")
	}
}

func TestMetricsOfTheContract(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	a.registerAll([]account{a.account("8001")}, "127.0.0.2", phonePort(t), "u1")
	response, err := a.http.Get(fmt.Sprintf("http://127.0.0.1:%d/001565aabbcc.cfg", a.ports.provisioning))
	if err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("a phone that is in no row got %s", response.Status)
	}
	if unknown := a.run("terminal", "list", "--unknown"); !strings.Contains(unknown, "00:15:65:aa:bb:cc") {
		t.Errorf("the unknown phone is not listed:\n%s", unknown)
	}
	for _, name := range []string{
		"linehall_sip_requests_total", "linehall_sip_registered_bindings", "linehall_dropped_total", "linehall_calls_active", "linehall_call_setup_seconds_count",
		"linehall_call_mos_count", "linehall_rtp_packets_total", "linehall_rtp_lost_packets_total", "linehall_rtp_forward_seconds_count", "linehall_rtp_jitter_seconds_count",
		"linehall_line_capacity_bps", "linehall_line_reserved_bps", "linehall_line_measured_bps", "linehall_line_refused_total",
		"linehall_conference_participants", "linehall_sfu_forward_seconds_count", "linehall_sfu_packets_total",
		"linehall_provisioning_requests_total", "linehall_config_last_reload_success",
	} {
		if !a.hasMetric(name) {
			t.Errorf("no sample of %s", name)
		}
	}
}
