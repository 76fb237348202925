// Package phone describes what a desk phone needs to know, in no vendor's
// words, and guesses from a request which vendor's phone is asking.
//
// A brand's package under this one turns Settings into the exact files that
// its phones ask for; adding a brand touches neither this package nor the one
// that serves. What identifies a phone here (User-Agent, the vendor's part of
// a MAC address) is a hint for lists and file names and proves nothing.
//
//	hint := phone.Detect(request.UserAgent(), "")
//	fmt.Println(hint.Brand, hint.Model, hint.MAC) // yealink T54W 80:5e:c0:11:22:33
//
// Everything is a value or a pure function and safe for concurrent use.
package phone

import "time"

// Settings is the whole configuration of one phone. Without an Account it is
// what a phone gets before it has proved anything: no secret is in it.
type Settings struct {
	MAC   string // 00:15:65:ab:cd:ef; "" in a file for all phones of a model
	Model string // as in the list of terminals; "" = unknown

	Account *Account

	Language string // zh-CN | en
	TimeZone string // IANA name
	NTP      []string

	// DialNow are patterns (digits and x for any digit) of complete numbers:
	// the phone dials them without waiting. Emergency numbers come first.
	DialNow []string

	Provisioning Provisioning

	// AdminPassword of the phone's menus and web page; "" leaves it.
	AdminPassword string
	WebOpen       bool // the phone's own web page stays reachable

	Network   Network
	Keys      []Key // busy lamps, in their order
	Directory Directory

	// Extra are lines "key = value" in the brand's own words that win over
	// ours.
	Extra []byte
}

// Network is how the phone marks what it sends.
type Network struct {
	VLAN         int  // 802.1Q id; 0 leaves what is set on the phone
	VLANPriority int  // 802.1p, with VLAN
	LLDP         bool // learns its VLAN from the switch
	DSCPSignal   int  // 0 to 63
	DSCPVoice    int
}

// Key is a busy lamp with the number that it watches and dials.
type Key struct{ Number, Label string }

// Directory is the phone book that the phone fetches; without a URL it has
// none.
type Directory struct{ Name, URL string }

// Account is one SIP registration.
type Account struct {
	User        string
	AuthUser    string
	Password    string
	DisplayName string
	Domain      string // of the AOR, and the digest realm
	Server      string // address of the server as this phone reaches it
	Port        uint16
	Transport   Transport
	SRTP        SRTP
	Expires     time.Duration
	Codecs      []Codec // best first; others are off

	Backup     string // address of a second server with the same ports; "" = none
	Voicemail  string // number of the mailbox; "" = none
	Pickup     string // code in front of a ringing number; "" = none
	AutoAnswer bool   // answers by itself when the call asks for it (intercom, paging)
}

// Provisioning says where and how often the phone asks again.
type Provisioning struct {
	URL   string        // folder of the phone's file; ends with a slash
	CAURL string        // where the phone gets the certificate authority to trust
	CA    []byte        // the same as PEM, for phones that take it only inside their file
	Every time.Duration // asks again after this long
	Final bool          // the URL is the phone's own: it must no longer look for another server
}

// Transport is a transport of SIP.
type Transport string

// The transports a phone can use.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// SRTP says whether the phone encrypts media.
type SRTP string

// The ways of media encryption.
const (
	SRTPOff      SRTP = "off"
	SRTPOptional SRTP = "optional"
	SRTPRequired SRTP = "required"
)

// Codec is an audio codec by its SDP name in lower case.
type Codec string

// The codecs that a phone may be told to use.
const (
	G722 Codec = "g722"
	PCMA Codec = "pcma"
	PCMU Codec = "pcmu"
)

// File is what a phone asks for.
type File struct {
	Kind Kind
	MAC  string // of Device, Boot and Local files; "" = a common one
	// Model is what the file's name says about it; a User-Agent knows better.
	Model string
}

// Kind is what a file is for.
type Kind uint8

// The kinds of files.
const (
	Device Kind = iota + 1 // one phone's settings
	Common                 // for all phones of a model
	Boot                   // a list of other files; we have none
	Local                  // what a user changed on the phone
)
