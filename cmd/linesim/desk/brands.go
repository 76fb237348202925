package desk

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
)

// leaf is an element with its path, its attributes and its text.
type leaf struct {
	path  []string
	attrs map[string]string
	text  string
}

// leaves reads XML: every element, in order, with what is around it.
func leaves(content []byte) ([]leaf, error) {
	d := xml.NewDecoder(strings.NewReader(string(content)))
	var list []leaf
	var open []int
	var path []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForm, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			attrs := map[string]string{}
			for _, a := range t.Attr {
				attrs[a.Name.Local] = a.Value
			}
			step := t.Name.Local
			if index := attrs["index"]; index != "" {
				step += index
			}
			path = append(path, step)
			open = append(open, len(list))
			list = append(list, leaf{path: append([]string(nil), path...), attrs: attrs})
		case xml.CharData:
			if len(open) > 0 {
				list[open[len(open)-1]].text += string(t)
			}
		case xml.EndElement:
			path, open = path[:len(path)-1], open[:len(open)-1]
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no element", ErrForm)
	}
	return list, nil
}

// account fills the defaults of a line and splits host:port.
func account(a Account, server, port string) (Account, error) {
	if a.User == "" || a.Password == "" {
		return Account{}, ErrNoAccount
	}
	if host, p, err := net.SplitHostPort(server); err == nil {
		server, port = host, p
	}
	if a.AuthUser == "" {
		a.AuthUser = a.User
	}
	var err error
	if a.Port, err = strconv.Atoi(port); err != nil || server == "" || a.Domain == "" || a.Expires <= 0 || a.Transport == "" {
		return Account{}, fmt.Errorf("%w: server %q port %q domain %q expires %d transport %q", ErrForm, server, port, a.Domain, a.Expires, a.Transport)
	}
	a.Server = server
	return a, nil
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// pvalues reads <P1>x</P1>.
func pvalues(s *set, list []leaf) {
	for _, l := range list {
		if name := l.path[len(l.path)-1]; strings.HasPrefix(name, "P") {
			s.values[name] = l.text
		}
	}
}

func grandstream() brand {
	pick := func(s *set, p, alias string) string {
		if v, ok := s.values[alias]; ok {
			return v
		}
		return s.values[p]
	}
	return brand{
		book: func(s *set) string { // the phone adds the name
			scheme := map[string]string{"1": "http", "3": "https", "EnabledUseHTTP": "http", "EnabledUseHTTPS": "https"}[pick(s, "P330", "phonebook.download.mode")]
			if scheme == "" {
				return ""
			}
			return scheme + "://" + pick(s, "P331", "phonebook.download.server") + "/phonebook.xml"
		},
		first: true,
		names: func(s *set) []string {
			return []string{"cfg" + s.mac, "cfg" + s.mac + ".bin", "cfg" + s.mac + ".xml", "cfg" + strings.ToLower(s.device.model()) + ".xml", "cfg.xml"}
		},
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil || list[0].path[0] != "gs_provision" {
				return fmt.Errorf("%w: no gs_provision", ErrForm)
			}
			for _, l := range list {
				switch l.path[len(l.path)-1] {
				case "mac":
					if l.text != s.mac {
						return fmt.Errorf("%w: it is for %s", ErrForm, l.text)
					}
				case "item":
					s.values[l.attrs["name"]] = l.text
				}
			}
			pvalues(s, list)
			return nil
		},
		next: func(s *set) string {
			path := pick(s, "P237", "provisioning.config.serverPath")
			scheme := map[string]string{"1": "http", "2": "https", "HTTP": "http", "HTTPS": "https"}[pick(s, "P212", "provisioning.config.protocol")]
			if path == "" || strings.Contains(path, "://") { // a path with a scheme does not work
				return ""
			}
			return scheme + "://" + path + "/"
		},
		line: func(s *set) (Account, error) {
			if active := pick(s, "P271", "account.1.enable"); active != "1" && active != "Yes" {
				return Account{}, ErrNoAccount
			}
			transport := pick(s, "P130", "account.1.sip.transport")
			a := Account{
				User: pick(s, "P35", "account.1.sip.userid"), AuthUser: pick(s, "P36", "account.1.sip.subscriber.userid"),
				Password: pick(s, "P34", "account.1.sip.subscriber.password"), DisplayName: pick(s, "P3", "account.1.sip.subscriber.name"),
				Domain: pick(s, "P47", "account.1.sip.server.1.address"), Expires: 60 * number(pick(s, "P32", "account.1.sip.registerExpiration")),
				Transport: map[string]string{"0": "udp", "1": "tcp", "2": "tls", "UDP": "udp", "TCP": "tcp", "Tls Or Tcp": "tls"}[transport],
			}
			return account(a, pick(s, "P48", "account.1.sip.outboundProxy.1.address"), "")
		},
	}
}

func htek() brand {
	return brand{
		book:  func(s *set) string { return s.values["P331"] },
		first: true,
		names: func(s *set) []string { return []string{"cfg0012.xml", "cfg" + s.mac, "cfg" + s.mac + ".xml"} },
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil || list[0].path[0] != "hl_provision" {
				return fmt.Errorf("%w: no hl_provision", ErrForm)
			}
			pvalues(s, list)
			return nil
		},
		next: func(s *set) string {
			if s.values["P237"] == "" {
				return ""
			}
			return s.values["P237"] + "/" // with its scheme
		},
		line: func(s *set) (Account, error) {
			if s.values["P271"] != "1" {
				return Account{}, ErrNoAccount
			}
			return account(Account{
				User: s.values["P35"], AuthUser: s.values["P36"], Password: s.values["P34"], DisplayName: s.values["P3"], Domain: s.values["P47"],
				Expires: 60 * number(s.values["P32"]), Transport: map[string]string{"0": "udp", "1": "tcp", "2": "tls"}[s.values["P130"]],
			}, s.values["P48"], "")
		},
	}
}

func fanvil() brand {
	return brand{
		book:   func(s *set) string { return s.values["phone/xmlContact1/Addr"] },
		macros: func(s *set) []string { return []string{"$mac", s.mac} },
		names: func(s *set) []string {
			_, own := s.split()
			return []string{"f0X4hw1.100.cfg", cmp.Or(own, s.mac+".cfg")}
		},
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil || list[0].path[0] != "sysConf" {
				return fmt.Errorf("%w: no sysConf", ErrForm)
			}
			for _, l := range list {
				s.values[strings.Join(l.path[1:], "/")] = l.text
			}
			if s.values["Version"] == "" {
				return fmt.Errorf("%w: no Version", ErrForm)
			}
			return nil
		},
		next: func(s *set) string {
			server := s.values["ap/FlashServerIP"]
			if server == "" {
				return ""
			}
			if !strings.Contains(server, "://") {
				server = map[string]string{"4": "http", "5": "https"}[s.values["ap/FlashProtocol"]] + "://" + server
			}
			return server + "/"
		},
		line: func(s *set) (Account, error) {
			get := func(key string) string { return s.values["sip/line1/"+key] }
			if get("EnableReg") != "1" {
				return Account{}, ErrNoAccount
			}
			return account(Account{
				User: get("PhoneNumber"), AuthUser: get("RegisterUser"), Password: get("RegisterPswd"), DisplayName: get("DisplayName"), Domain: get("RegisterAddr"),
				Expires: number(get("RegisterTTL")), Transport: map[string]string{"0": "udp", "1": "tcp", "3": "tls"}[get("Transport")],
			}, get("ProxyAddr"), get("ProxyPort"))
		},
	}
}

func snom() brand {
	return brand{
		book:   func(s *set) string { return strings.TrimPrefix(s.values["dkey_directory"], "url ") },
		macros: func(s *set) []string { return []string{"{mac}", strings.ToUpper(s.mac)} },
		names: func(s *set) []string {
			if _, file := s.split(); file != "" {
				return []string{file}
			}
			return []string{"snom" + s.device.model() + ".htm", "snom" + s.device.model() + "-" + strings.ToUpper(s.mac) + ".htm"}
		},
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil || list[0].path[0] != "settings" {
				return fmt.Errorf("%w: no settings", ErrForm)
			}
			for _, l := range list {
				s.values[l.path[len(l.path)-1]+l.attrs["idx"]] = l.text
			}
			return nil
		},
		next: func(s *set) string { return s.values["setting_server"] },
		line: func(s *set) (Account, error) {
			if s.values["user_active1"] != "on" {
				return Account{}, ErrNoAccount
			}
			server, transport, _ := strings.Cut(s.values["user_outbound1"], ";transport=")
			return account(Account{
				User: s.values["user_name1"], AuthUser: s.values["user_pname1"], Password: s.values["user_pass1"], DisplayName: s.values["user_realname1"],
				Domain: s.values["user_host1"], Expires: number(s.values["user_expiry1"]), Transport: transport,
			}, server, "")
		},
	}
}

func cisco() brand {
	return brand{
		book:  func(s *set) string { return s.values["XML_Directory_Service_URL"] },
		check: true,
		macros: func(s *set) []string {
			name, isSPA := strings.CutPrefix(s.device.model(), "SPA")
			if !isSPA {
				name += "-3PCC"
			}
			return []string{"$PSN", name, "$MA", s.mac}
		},
		names: func(s *set) []string {
			if _, file := s.split(); file != "" { // a rule: the address is that of the file
				return []string{file}
			}
			if name, isSPA := strings.CutPrefix(s.device.model(), "SPA"); isSPA {
				return []string{"spa" + name + ".cfg"}
			}
			return []string{s.device.model() + "-3PCC.xml"}
		},
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil || list[0].path[0] != "flat-profile" {
				return fmt.Errorf("%w: no flat-profile", ErrForm)
			}
			for _, l := range list[1:] {
				s.values[l.path[len(l.path)-1]] = l.text // the last of two wins
			}
			return nil
		},
		next: func(s *set) string { return strings.ReplaceAll(s.values["Profile_Rule"], "$MA", s.mac) },
		line: func(s *set) (Account, error) {
			if s.values["Line_Enable_1_"] != "Yes" || s.values["Register_1_"] != "Yes" {
				return Account{}, ErrNoAccount
			}
			return account(Account{
				User: s.values["User_ID_1_"], AuthUser: s.values["Auth_ID_1_"], Password: s.values["Password_1_"], DisplayName: s.values["Display_Name_1_"],
				Domain: s.values["Proxy_1_"], Expires: number(s.values["Register_Expires_1_"]),
				Transport: map[string]string{"UDP": "udp", "TCP": "tcp", "TLS": "tls"}[s.values["SIP_Transport_1_"]],
			}, s.values["Outbound_Proxy_1_"], "")
		},
	}
}

func poly() brand {
	return brand{
		book:   func(s *set) string { return s.mac + "-directory.xml" },
		check:  true,
		macros: func(s *set) []string { return []string{"[PHONE_MAC_ADDRESS]", s.mac} },
		names: func(s *set) []string {
			if _, master := s.split(); master != "" {
				return []string{master}
			}
			return []string{s.mac + ".cfg", "000000000000.cfg"}
		},
		read: func(s *set, content []byte) error {
			list, err := leaves(content)
			if err != nil {
				return err
			}
			for _, l := range list {
				maps.Copy(s.values, l.attrs)
			}
			if files := strings.ReplaceAll(s.values["CONFIG_FILES"], " ", ""); files != "" {
				s.values["\x00more"] = strings.ReplaceAll(files, "[PHONE_MAC_ADDRESS]", s.mac) + "," + s.mac + "-phone.cfg," + s.mac + "-web.cfg"
				delete(s.values, "CONFIG_FILES")
			}
			return nil
		},
		next: func(s *set) string {
			for _, key := range []string{"device.set", "device.prov.serverName.set", "device.prov.serverType.set"} {
				if s.values[key] != "1" {
					return "" // ignored without it
				}
			}
			return strings.ToLower(s.values["device.prov.serverType"]) + "://" + s.values["device.prov.serverName"] + "/"
		},
		line: func(s *set) (Account, error) {
			user, domain, _ := strings.Cut(s.values["reg.1.address"], "@")
			return account(Account{
				User: user, AuthUser: s.values["reg.1.auth.userId"], Password: s.values["reg.1.auth.password"], DisplayName: s.values["reg.1.displayName"], Domain: domain,
				Expires:   number(s.values["reg.1.server.1.expires"]),
				Transport: map[string]string{"UDPOnly": "udp", "TCPOnly": "tcp", "TLS": "tls"}[s.values["reg.1.server.1.transport"]],
			}, s.values["reg.1.server.1.address"], s.values["reg.1.server.1.port"])
		},
	}
}
