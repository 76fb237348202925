package trunk

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"linehall/internal/setting"
	"linehall/sip/dialplan"
)

// Config is one entry of the list "trunks": a way to another network, over one
// or more gateways.
type Config struct {
	Name     string          `yaml:"name"`
	Gateways []GatewayConfig `yaml:"gateways"`
	// Domain is the domain of our identity there; "" = the gateway's own name
	// or address.
	Domain string     `yaml:"domain"`
	Auth   AuthConfig `yaml:"auth"`
	// Register makes us register with each gateway; without it gateways know
	// us by our address.
	Register bool `yaml:"register"`
	// Expires is the registration's life that we ask for.
	Expires time.Duration `yaml:"expires"`
	// Probe is how often a gateway is asked with OPTIONS whether it lives; 0s
	// = never, then only calls find out.
	Probe time.Duration `yaml:"probe"`
	// Timeout is how long a gateway may be silent to an INVITE before the next
	// one is tried.
	Timeout time.Duration `yaml:"timeout"`
	// Identify are further addresses that calls of this trunk come from; those
	// of its gateways always count.
	Identify []netip.Prefix `yaml:"identify"`
	// DIDs are our numbers in that network and what rings for them.
	DIDs []dialplan.DIDConfig `yaml:"dids"`
	// Unknown is the number of ours that rings for a number without a DID; ""
	// refuses the call.
	Unknown  string         `yaml:"unknown"`
	Identity IdentityConfig `yaml:"identity"`
	// Format is how numbers are written there: e164, national or as_dialled.
	Format dialplan.Format `yaml:"format"`
	// SRTP of calls over this trunk: off, optional or required.
	SRTP string `yaml:"srtp"`
	// MaxCalls is how many calls the trunk carries, in both directions; 0 = no
	// limit. It stops no emergency call.
	MaxCalls int `yaml:"max_calls"`
	// Tolls limit all calls outside over this trunk together; a number that
	// they forbid is not sent over it.
	Tolls dialplan.TollsConfig `yaml:"tolls"`
	// CAFile holds the certificates that a TLS gateway's is checked against;
	// "" = those of the system.
	CAFile string `yaml:"ca_file"`
}

// GatewayConfig is one gateway of a trunk.
type GatewayConfig struct {
	// Address is an IP address, with or without a port.
	Address string `yaml:"address"`
	// Domain is a name to look up instead, by RFC 3263: NAPTR, SRV, then
	// addresses. With a port only addresses are looked up.
	Domain string `yaml:"domain"`
	// Transport is udp, tcp or tls; "" = what DNS says, else udp.
	Transport string `yaml:"transport"`
	// Priority: the lowest is tried first.
	Priority int `yaml:"priority"`
	// Weight shares the calls among gateways of the same priority.
	Weight int `yaml:"weight"`
	// MaxCalls is how many calls this gateway carries; 0 = no limit.
	MaxCalls int `yaml:"max_calls"`
}

// AuthConfig is our account with the other side.
type AuthConfig struct {
	User     string         `yaml:"user"`
	Password setting.Secret `yaml:"password"`
	// Name is the user of our address there when it is not the account's.
	Name string `yaml:"name"`
}

// IdentityConfig says which number the called see.
type IdentityConfig struct {
	// Number is the organisation's own; "" = the account's user, else the
	// extension, which is allowed towards a gateway of our own only.
	Number string `yaml:"number"`
	// Own shows the DID of the calling extension where it has one.
	Own bool `yaml:"own"`
	// Name shows the caller's name as well.
	Name bool `yaml:"name"`
}

// What a trunk has when its keys are absent.
const (
	defaultExpires = 10 * time.Minute
	defaultProbe   = 30 * time.Second
	defaultTimeout = 6 * time.Second
)

// DefaultConfig holds what a trunk has when its keys are absent.
func DefaultConfig() Config {
	return Config{Expires: defaultExpires, Probe: defaultProbe, Timeout: defaultTimeout, Format: dialplan.E164, SRTP: SRTPOff, Tolls: dialplan.DefaultTrunkTolls()}
}

// DefaultGateway holds what a gateway has when its keys are absent.
func DefaultGateway() GatewayConfig { return GatewayConfig{Priority: 1, Weight: 1} }

// The SRTP policies of a trunk.
const (
	SRTPOff      = "off"
	SRTPOptional = "optional"
	SRTPRequired = "required"
)

// SRTPModes lists the accepted values of "srtp".
func SRTPModes() []string { return []string{SRTPOff, SRTPOptional, SRTPRequired} }

// Transports lists the accepted values of a gateway's "transport".
func Transports() []string { return []string{"udp", "tcp", "tls"} }

const (
	mostGateways = 16
	mostPriority = 65535 // as in SRV records
	mostCalls    = 10000
)

// Validate reports what is wrong with the trunk alone.
func (c Config) Validate() error {
	var found setting.Complaints
	if !validName(c.Name) {
		found.Add("name", "trunk name %q must be lower-case letters, digits and hyphens, at most 32", c.Name)
	}
	if len(c.Gateways) == 0 || len(c.Gateways) > mostGateways {
		found.Add("gateways", "trunk %q needs 1 to %d gateways", c.Name, mostGateways)
	}
	for i, g := range c.Gateways {
		found.Merge(setting.Index("gateways", i), g.validate(c.SRTP))
		for j, other := range c.Gateways[:i] {
			if g.name() != "" && g.name() == other.name() && g.Transport == other.Transport {
				found.Add(setting.Index("gateways", i), "gateway %s is there already at place %d", g.name(), j+1)
			}
		}
	}
	c.validateAccount(&found)
	if c.Domain != "" && !validHost(c.Domain) {
		found.Add("domain", "%q is no domain name", c.Domain)
	}
	found.OneOf("format", string(c.Format), dialplan.Formats())
	found.OneOf("srtp", c.SRTP, SRTPModes())
	if c.Probe != 0 {
		found.Between("probe", c.Probe, 5*time.Second, time.Hour)
	}
	found.Between("timeout", c.Timeout, time.Second, 32*time.Second)
	if c.MaxCalls < 0 || c.MaxCalls > mostCalls {
		found.Add("max_calls", "%d is not between 0 and %d", c.MaxCalls, mostCalls)
	}
	for i, subnet := range c.Identify {
		if subnet.IsValid() && subnet != subnet.Masked() {
			found.Add(setting.Index("identify", i), "%s has bits behind its mask; did you mean %q?", subnet, subnet.Masked())
		}
		if subnet.IsValid() && subnet.Bits() == 0 {
			found.Add(setting.Index("identify", i), "%s is everybody: calls of strangers would be taken for this trunk's", subnet)
		}
	}
	found.Merge("tolls", c.Tolls.Validate())
	c.validateDIDs(&found)
	return found.Err()
}

func (c Config) validateAccount(found *setting.Complaints) {
	if strings.ContainsAny(c.Auth.User+c.Auth.Name, "\"\\<>@ \r\n") {
		found.Add("auth.user", "%q cannot be part of an address", c.Auth.User)
	}
	switch {
	case c.Auth.User == "" && c.Auth.Password != "":
		found.Add("auth.user", "the account has a password but no user")
	case c.Register && c.Auth.User == "":
		found.Add("register", "to register, trunk %q needs \"auth\" with user and password", c.Name)
	}
	if c.Register {
		found.Between("expires", c.Expires, time.Minute, 24*time.Hour)
	}
	if number := strings.TrimPrefix(c.Identity.Number, "+"); c.Identity.Number != "" && strings.Trim(number, "0123456789") != "" {
		found.Add("identity.number", "%q is no public number", c.Identity.Number)
	}
}

func (c Config) validateDIDs(found *setting.Complaints) {
	first := map[string]int{}
	for i, did := range c.DIDs {
		path := setting.Index("dids", i)
		found.Merge(path, did.Validate())
		number := dialplan.Normalise(did.Number)
		if j, taken := first[number]; taken {
			found.Add(path+".number", "the DID %s is there already at place %d", did.Number, j+1)
			continue
		}
		first[number] = i
	}
}

func (g GatewayConfig) validate(srtp string) error {
	var found setting.Complaints
	switch {
	case g.Address == "" && g.Domain == "":
		found.Add("", "a gateway needs an \"address\" or a \"domain\"")
	case g.Address != "" && g.Domain != "":
		found.Add("domain", "a gateway has an \"address\" or a \"domain\", not both")
	case g.Address != "":
		if _, err := parseAddress(g.Address); err != nil {
			found.Add("address", "%q is no IP address; a name belongs into \"domain\"", g.Address)
		}
	default:
		host, _, err := splitPort(g.Domain)
		if err != nil || !validHost(host) {
			found.Add("domain", "%q is no domain name; write it like sip.example.org", g.Domain)
		}
	}
	if g.Transport != "" {
		found.OneOf("transport", g.Transport, Transports())
	}
	if g.Address != "" && srtp == SRTPRequired && g.Transport != "tls" {
		found.Add("transport", "\"srtp: required\" needs \"tls\": the keys would be readable on the way")
	}
	if g.Priority < 0 || g.Priority > mostPriority {
		found.Add("priority", "%d is not between 0 and %d", g.Priority, mostPriority)
	}
	if g.Weight < 0 || g.Weight > mostPriority {
		found.Add("weight", "%d is not between 0 and %d", g.Weight, mostPriority)
	}
	if g.MaxCalls < 0 || g.MaxCalls > mostCalls {
		found.Add("max_calls", "%d is not between 0 and %d", g.MaxCalls, mostCalls)
	}
	return found.Err()
}

// name is how people call the gateway.
func (g GatewayConfig) name() string {
	if g.Address != "" {
		return g.Address
	}
	return strings.ToLower(g.Domain)
}

// Plan is what the number plan needs to know of the trunk.
func (c Config) Plan() dialplan.Trunk {
	return dialplan.Trunk{Name: c.Name, DIDs: slices.Clone(c.DIDs), Unknown: c.Unknown, Tolls: c.Tolls}
}

func validName(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// validHost accepts host names (RFC 1123 §2.1; underscores appear in practice) and IP addresses.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	if len(host) == 0 || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(strings.TrimSuffix(host, ".")), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
