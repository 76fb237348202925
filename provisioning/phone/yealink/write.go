package yealink

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"linehall/provisioning/phone"
)

// firstLine must be exactly this, or the phone ignores the file.
const firstLine = "#!version:1.0.0.1"

// null is the value that sets a text to empty; an empty value would mean the
// factory default.
const null = "%NULL%"

// writer collects lines in order.
type writer struct {
	lines []Line
	notes []string // comment lines at the top
}

func (w *writer) set(key, value string) { w.lines = append(w.lines, Line{key, value}) }

func (w *writer) number(key string, value int) { w.set(key, strconv.Itoa(value)) }

func (w *writer) flag(key string, on bool) {
	if on {
		w.set(key, "1")
		return
	}
	w.set(key, "0")
}

func (w *writer) comment(s phone.Settings) {
	what := "without secrets: the phone has not enrolled"
	if s.Account != nil {
		what = "extension " + s.Account.User
	}
	w.notes = append(w.notes, strings.TrimSpace(s.MAC+" "+safe(s.Model))+", "+what)
}

// general is what is no phone's own: language, time, dialling, hardening.
func (w *writer) general(s phone.Settings) {
	if gui, ok := languages()[s.Language]; ok {
		w.set("lang.gui", gui)
		w.set("lang.wui", gui)
	}
	w.clock(s)
	for i, pattern := range s.DialNow {
		w.set(fmt.Sprintf("dialplan.dialnow.rule.%d", i+1), pattern)
	}
	if len(s.DialNow) > 0 {
		w.set("phone_setting.dialnow_delay", "0") // seconds: an emergency number leaves at its last digit
	}
	w.set("sip.notify_reboot_enable", "0") // check-sync reboots only when it says so
	w.flag("sip.trust_ctrl", true)         // only the registered server may call or command
	w.number("static.network.qos.signaltos", dscpSignalling)
	w.number("static.network.qos.audiotos", dscpVoice)
	w.flag("static.zero_touch.enable", false)
	w.flag("static.auto_provision.pnp_enable", false) // nothing authenticates who answers it
}

// DSCP of what the phone sends (RFC 4594): CS3 and EF.
const (
	dscpSignalling = 24
	dscpVoice      = 46
)

// languages are the phones' names of ours.
func languages() map[string]string {
	return map[string]string{"zh-CN": "Chinese_S", "en": "English"}
}

// referenceYear is the one whose rules say what a zone's offset is: taking the
// current year would change every file on New Year's Day.
const referenceYear = 2026

// clock sets time servers and the zone. Whether summer time is kept comes from
// the zone's rules; the phone knows the days by itself.
func (w *writer) clock(s phone.Settings) {
	for i, server := range s.NTP {
		if i < 2 { // the phone takes two
			w.set(fmt.Sprintf("local_time.ntp_server%d", i+1), safe(server))
		}
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "" {
		return // the configuration was checked; a phone without a zone still works
	}
	_, january := time.Date(referenceYear, time.January, 15, 12, 0, 0, 0, zone).Zone()
	_, july := time.Date(referenceYear, time.July, 15, 12, 0, 0, 0, zone).Zone()
	w.set("local_time.time_zone", offset(min(january, july)))
	if name, ok := zoneNames()[s.TimeZone]; ok {
		w.set("local_time.time_zone_name", name)
	}
	if january == july {
		w.set("local_time.summer_time", "0")
	} else {
		w.set("local_time.summer_time", "2")
	}
}

// zoneNames are the phones' names of zones; without one the offset decides.
func zoneNames() map[string]string {
	return map[string]string{"Asia/Shanghai": "China(Beijing)"}
}

// offset writes +8 or +5:30.
func offset(seconds int) string {
	sign := "+"
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	text := sign + strconv.Itoa(seconds/3600)
	if minutes := seconds % 3600 / 60; minutes != 0 {
		text += fmt.Sprintf(":%02d", minutes)
	}
	return text
}

func (w *writer) provisioning(p phone.Provisioning) {
	w.set("static.auto_provision.server.url", p.URL)
	w.flag("static.auto_provision.power_on", true)
	w.flag("static.auto_provision.repeat.enable", p.Every > 0)
	if p.Every > 0 {
		w.number("static.auto_provision.repeat.minutes", int(p.Every/time.Minute))
	}
	// An enrolled phone must not go back to what DHCP says: the first file
	// there would replace its own URL with the one for everybody.
	w.flag("static.auto_provision.dhcp_option.enable", !p.Final)
	if p.CAURL != "" {
		w.set("static.trusted_certificates.url", p.CAURL)
		w.set("static.security.ca_cert", "2") // the phone's own list and ours
		w.flag("static.security.trust_certificates", true)
	}
}

// accounts writes the phone's account and clears all others: fewer accounts in
// a file would leave the old ones registered.
func (w *writer) accounts(s phone.Settings) {
	first := 1
	if s.Account != nil {
		w.account(*s.Account)
		first = 2
	}
	if s.AdminPassword != "" && s.Account != nil {
		w.set("static.security.user_password", "admin:"+s.AdminPassword)
	}
	if s.Account == nil {
		return // a phone that has not proved itself keeps what it has
	}
	for i := first; i <= linesOf(s.Model); i++ {
		w.flag(account(i, "enable"), false)
		for _, key := range []string{"label", "display_name", "user_name", "auth_name", "password"} {
			w.set(account(i, key), null)
		}
	}
}

func account(i int, key string) string { return fmt.Sprintf("account.%d.%s", i, key) }

func (w *writer) account(a phone.Account) {
	set := func(key, value string) { w.set(account(1, key), value) }
	set("enable", "1")
	set("label", safe(a.User))
	set("display_name", safe(a.DisplayName))
	set("user_name", safe(a.User))
	set("auth_name", safe(a.AuthUser))
	set("password", a.Password)
	set("sip_server.1.address", safe(a.Domain))
	set("sip_server.1.port", strconv.Itoa(int(a.Port)))
	set("sip_server.1.transport_type", transports()[a.Transport])
	set("sip_server.1.expires", strconv.Itoa(int(a.Expires/time.Second)))
	set("sip_server.1.retry_counts", "3")
	// The domain is a name for the AOR; the packets go to an address, so that
	// an isolated network needs no DNS.
	set("outbound_proxy_enable", "1")
	set("outbound_proxy.1.address", safe(a.Server))
	set("outbound_proxy.1.port", strconv.Itoa(int(a.Port)))
	set("srtp_encryption", srtpModes()[a.SRTP])
	set("dtmf.type", "1") // RFC 4733
	for _, codec := range []phone.Codec{phone.G722, phone.PCMA, phone.PCMU, "opus", "g729"} {
		w.codec(codec, a.Codecs)
	}
}

func (w *writer) codec(codec phone.Codec, wanted []phone.Codec) {
	for i, c := range wanted {
		if c == codec {
			w.set(account(1, "codec."+string(codec)+".enable"), "1")
			w.number(account(1, "codec."+string(codec)+".priority"), i+1)
			return
		}
	}
	w.set(account(1, "codec."+string(codec)+".enable"), "0")
}

func transports() map[phone.Transport]string {
	return map[phone.Transport]string{phone.UDP: "0", phone.TCP: "1", phone.TLS: "2"}
}

func srtpModes() map[phone.SRTP]string {
	return map[phone.SRTP]string{phone.SRTPOff: "0", phone.SRTPOptional: "1", phone.SRTPRequired: "2"}
}

// safe keeps a text from meaning anything to the phone's parser: a line break
// would begin a new setting, # a comment, quotes are stripped by some
// firmware, %NULL% is the empty text. What is replaced looks the same on the
// display.
func safe(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '#':
			return '＃'
		case c == '"':
			return '＂'
		case c == '%':
			return '％'
		case c < ' ' || c == 0x7f:
			return ' '
		}
		return c
	}, text)
	return strings.TrimSpace(text)
}

// finish lays the extra lines over ours and writes the file.
func (w *writer) finish(extra []byte) ([]byte, error) {
	over, err := Parse(extra, false)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	for _, line := range over {
		w.override(line)
	}
	var b bytes.Buffer
	b.WriteString(firstLine + "\n")
	for _, note := range w.notes {
		b.WriteString("# " + note + "\n")
	}
	for _, line := range w.lines {
		b.WriteString(line.Key + " = " + line.Value + "\n")
	}
	return b.Bytes(), nil
}

func (w *writer) override(line Line) {
	for i := range w.lines {
		if w.lines[i].Key == line.Key {
			w.lines[i] = line
			return
		}
	}
	w.lines = append(w.lines, line)
}
