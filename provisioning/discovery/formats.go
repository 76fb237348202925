package discovery

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// quoted is a text in double quotes as dnsmasq and ISC dhcpd read it. What we
// write is addresses and numbers: no quote and no backslash is in it.
func quoted(text string) string { return `"` + text + `"` }

// octal or hex forms of bytes: 42:16:68.
func colons(b []byte) string {
	parts := make([]string, 0, len(b))
	for _, c := range b {
		parts = append(parts, fmt.Sprintf("%02x", c))
	}
	return strings.Join(parts, ":")
}

// writeDnsmasq writes dnsmasq.conf lines (dnsmasq(8), dhcp-option).
func writeDnsmasq(n Network, groups []group) []byte {
	var b bytes.Buffer
	for _, line := range introduction(n) {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	for _, g := range groups {
		tag := "linehall-" + g.name
		b.WriteByte('\n')
		for _, class := range g.classes {
			fmt.Fprintf(&b, "dhcp-vendorclass=set:%s,%s\n", tag, class)
		}
		for _, prefix := range g.prefixes {
			fmt.Fprintf(&b, "dhcp-mac=set:%s,%s:*:*:*\n", tag, prefix)
		}
		for _, o := range g.options {
			value := quoted(o.text)
			switch o.form {
			case addresses:
				value = join(o.addresses, ",")
			case octets:
				value = colons(o.octets)
			case text:
			}
			fmt.Fprintf(&b, "dhcp-option=tag:%s,%d,%s\n", tag, o.number, value)
		}
	}
	return b.Bytes()
}

// writeISC writes dhcpd.conf (ISC DHCP 4.4).
func writeISC(n Network, groups []group) []byte {
	var b bytes.Buffer
	for _, line := range introduction(n) {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	b.WriteByte('\n')
	for _, o := range own(groups) {
		kind := "text"
		if o.form == addresses {
			kind = "array of ip-address"
		}
		fmt.Fprintf(&b, "option linehall-%s code %d = %s;\n", names[o.number], o.number, kind)
	}
	for _, g := range groups {
		var conditions []string
		for _, class := range g.classes {
			conditions = append(conditions, fmt.Sprintf("substring (option vendor-class-identifier, 0, %d) = %s", len(class), quoted(class)))
		}
		for _, prefix := range g.prefixes {
			conditions = append(conditions, "substring (hardware, 1, 3) = "+prefix)
		}
		fmt.Fprintf(&b, "\nclass \"linehall-%s\" {\n  match if %s;\n", g.name, strings.Join(conditions, "\n    or "))
		for _, o := range g.options {
			name, value := names[o.number], quoted(o.text)
			if !standard(o.number) {
				name = "linehall-" + name
			}
			switch o.form {
			case addresses:
				value = join(o.addresses, ", ")
			case octets:
				value = colons(o.octets)
			case text:
			}
			fmt.Fprintf(&b, "  option %s %s;\n", name, value)
		}
		b.WriteString("}\n")
	}
	return b.Bytes()
}

// own lists one of each option that the server has to be told about.
func own(groups []group) []option {
	var list []option
	seen := map[int]bool{}
	for _, g := range groups {
		for _, o := range g.options {
			if !standard(o.number) && !seen[o.number] {
				seen[o.number] = true
				list = append(list, o)
			}
		}
	}
	return list
}

// The parts of Kea's Dhcp4 configuration that a piece needs.
type (
	keaFile struct {
		Dhcp4 keaDhcp4 `json:"Dhcp4"`
	}
	keaDhcp4 struct {
		Comment string          `json:"comment"`
		Defs    []keaDefinition `json:"option-def"`
		Classes []keaClass      `json:"client-classes"`
	}
	keaDefinition struct {
		Name  string `json:"name"`
		Code  int    `json:"code"`
		Type  string `json:"type"`
		Array bool   `json:"array,omitempty"`
	}
	keaClass struct {
		Name string          `json:"name"`
		Test string          `json:"test"`
		Defs []keaDefinition `json:"option-def,omitempty"`
		Data []keaOption     `json:"option-data"`
	}
	keaOption struct {
		Name string `json:"name"`
		Code int    `json:"code"`
		Data string `json:"data"`
		CSV  *bool  `json:"csv-format,omitempty"`
	}
)

// keaTaken is an option that Kea has a meaning of its own for (RFC 7618) and
// does not let go; the phones that look at it look at option 66 first.
const keaTaken = 159

// writeKea writes a configuration that has only the phones in it; its members
// go into that of the site's server.
func writeKea(n Network, groups []group) ([]byte, error) {
	file := keaFile{keaDhcp4{Comment: strings.Join(introduction(n), " "), Defs: []keaDefinition{}}}
	for _, o := range own(groups) {
		if o.number == keaTaken {
			continue
		}
		file.Dhcp4.Defs = append(file.Dhcp4.Defs, definition("linehall-"+names[o.number], o))
	}
	for _, g := range groups {
		var conditions []string
		for _, class := range g.classes {
			conditions = append(conditions, fmt.Sprintf("substring(option[60].hex,0,%d) == '%s'", len(class), class))
		}
		for _, prefix := range g.prefixes {
			conditions = append(conditions, "substring(pkt4.mac,0,3) == 0x"+strings.ReplaceAll(prefix, ":", ""))
		}
		class := keaClass{Name: "linehall-" + g.name, Test: strings.Join(conditions, " or ")}
		for _, o := range g.options {
			if o.number == keaTaken {
				continue
			}
			data := keaOption{Name: names[o.number], Code: o.number, Data: o.text}
			if !standard(o.number) {
				data.Name = "linehall-" + data.Name
			}
			switch o.form {
			case addresses:
				data.Data = join(o.addresses, ", ")
			case octets: // option 43 means what the class says (Kea ARM, "DHCPv4 Vendor-Specific Options")
				raw := false
				data.Data, data.CSV = hex.EncodeToString(o.octets), &raw
				class.Defs = append(class.Defs, definition(data.Name, o))
			case text:
				data.Data = strings.ReplaceAll(data.Data, ",", `\,`)
			}
			class.Data = append(class.Data, data)
		}
		file.Dhcp4.Classes = append(file.Dhcp4.Classes, class)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(file)
	return b.Bytes(), err
}

func definition(name string, o option) keaDefinition {
	switch o.form {
	case addresses:
		return keaDefinition{Name: name, Code: o.number, Type: "ipv4-address", Array: true}
	case octets:
		return keaDefinition{Name: name, Code: o.number, Type: "binary"}
	case text:
	}
	return keaDefinition{Name: name, Code: o.number, Type: "string"}
}

// writeWindows writes commands of the DHCP server's PowerShell module. A
// policy chooses by MAC address and vendor class of a scope.
func writeWindows(n Network, groups []group) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	for _, text := range introduction(n) {
		line("# %s", text)
	}
	line("$ErrorActionPreference = 'Stop'")
	for _, o := range own(groups) {
		kind, multi := "String", ""
		if o.form == addresses {
			kind, multi = "IPv4Address", " -MultiValued"
		}
		line("Add-DhcpServerv4OptionDefinition -OptionId %d -Name 'Linehall %s' -Type %s%s -ErrorAction SilentlyContinue", o.number, names[o.number], kind, multi)
	}
	for _, g := range groups {
		for _, class := range g.classes {
			line("Add-DhcpServerv4Class -Name 'Linehall %s' -Type Vendor -Data '%s' -ErrorAction SilentlyContinue", class, class)
		}
	}
	for _, subnet := range n.Subnets {
		if !subnet.Addr().Is4() {
			continue
		}
		for _, g := range groups {
			scope, policy := subnet.Masked().Addr(), "Linehall "+g.name
			line("")
			var condition strings.Builder
			if len(g.classes) > 0 {
				condition.WriteString(" -VendorClass EQ")
			}
			for _, class := range g.classes {
				condition.WriteString(",'Linehall " + class + "*'")
			}
			if len(g.prefixes) > 0 {
				condition.WriteString(" -MacAddress EQ")
			}
			for _, prefix := range g.prefixes {
				condition.WriteString(",'" + strings.ToUpper(strings.ReplaceAll(prefix, ":", "")) + "*'")
			}
			line("Add-DhcpServerv4Policy -ScopeId %s -Name '%s' -Condition OR%s", scope, policy, condition.String())
			for _, o := range g.options {
				value := "'" + o.text + "'"
				switch o.form {
				case addresses:
					value = "'" + join(o.addresses, "','") + "'"
				case octets:
					value = "0x" + strings.ReplaceAll(colons(o.octets), ":", ",0x")
				case text:
				}
				line("Set-DhcpServerv4OptionValue -ScopeId %s -PolicyName '%s' -OptionId %d -Value %s", scope, policy, o.number, value)
			}
		}
	}
	return b.Bytes()
}
