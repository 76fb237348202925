// Package yealink is the provisioning side of a simulated Yealink desk phone: it asks for the files such a phone asks
// for, in the same order, reads them by the phone's grammar, trusts the certificates the files name, follows the
// server address the files set, and ends up with an account to register.
//
// It knows the keys that matter for that; all others are kept and ignored, as a phone ignores what its model lacks.
// It does not do encrypted files or the vendor's cloud.
//
//	device := yealink.Device{MAC: mac, Model: "T54W", URL: "http://127.0.0.1:8080/"}
//	result, err := device.Provision(ctx)
//	account, err := result.Config.Account(1)
package yealink

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// version is the first line of every configuration file.
const version = "#!version:1.0.0.1"

// ErrGrammar says that a phone would reject the file.
var ErrGrammar = errors.New("not a Yealink configuration file")

// Config is what a phone has read: later files win over earlier ones.
type Config map[string]string

// Parse reads one file: the version line, then `key = value`; `#` begins a comment line; %NULL% is an empty value; an
// empty value leaves what was there (the factory default).
func (c Config) Parse(data []byte) error {
	lines := strings.Split(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\n")
	if strings.TrimRight(lines[0], "\r") != version {
		return fmt.Errorf("%w: the first line is not %s", ErrGrammar, version)
	}
	for n, line := range lines[1:] {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || strings.ContainsAny(key, " \t") {
			return fmt.Errorf("%w: line %d has no key and value", ErrGrammar, n+2)
		}
		switch value {
		case "":
		case "%NULL%":
			c[key] = ""
		default:
			c[key] = value
		}
	}
	return nil
}

// includes reads a boot file: the files it lists, and nothing else of it.
func includes(data []byte) ([]string, error) {
	var files []string
	lines := strings.Split(string(data), "\n")
	if strings.TrimRight(lines[0], "\r") != version {
		return nil, fmt.Errorf("%w: the first line is not %s", ErrGrammar, version)
	}
	for _, line := range lines[1:] {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "include:config")
		if !ok {
			continue
		}
		files = append(files, strings.Trim(strings.TrimSpace(name), `"<>`))
	}
	return files, nil
}

// static returns a value by its name with or without the prefix that firmware since 2016 uses.
func (c Config) static(key string) string {
	if value, ok := c["static."+key]; ok {
		return value
	}
	return c[key]
}

// Account is one line of the phone.
type Account struct {
	Label       string
	DisplayName string
	User        string
	AuthUser    string
	Password    string
	Domain      string // what the phone puts behind the @
	Server      string // where it sends to: the outbound proxy if there is one
	Port        int
	Transport   string // udp, tcp, tls
	Expires     int    // seconds
}

// ErrNoAccount says that the configuration enables no such account, as before enrolment.
var ErrNoAccount = errors.New("no account in the configuration")

// Account returns account n, counted from 1.
func (c Config) Account(n int) (Account, error) {
	prefix := fmt.Sprintf("account.%d.", n)
	get := func(key string) string { return c[prefix+key] }
	if get("enable") != "1" || get("user_name") == "" {
		return Account{}, fmt.Errorf("account %d: %w", n, ErrNoAccount)
	}
	a := Account{
		Label: get("label"), DisplayName: get("display_name"), User: get("user_name"), AuthUser: get("auth_name"), Password: get("password"),
		Domain: get("sip_server.1.address"), Server: get("sip_server.1.address"),
	}
	if a.AuthUser == "" {
		a.AuthUser = a.User
	}
	port := get("sip_server.1.port")
	if get("outbound_proxy_enable") == "1" && get("outbound_proxy.1.address") != "" {
		a.Server, port = get("outbound_proxy.1.address"), get("outbound_proxy.1.port")
	}
	var err error
	if a.Port, err = number(port, 5060); err != nil {
		return a, fmt.Errorf("account %d port: %w", n, err)
	}
	if a.Expires, err = number(get("sip_server.1.expires"), 3600); err != nil {
		return a, fmt.Errorf("account %d expires: %w", n, err)
	}
	switch transport := get("sip_server.1.transport_type"); transport {
	case "", "0":
		a.Transport = "udp"
	case "1":
		a.Transport = "tcp"
	case "2":
		a.Transport = "tls"
	default:
		return a, fmt.Errorf("account %d: transport_type %q: %w", n, transport, ErrGrammar)
	}
	return a, nil
}

func number(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || n > 1<<30 {
		return 0, fmt.Errorf("%q is not a number a phone takes: %w", text, ErrGrammar)
	}
	return n, nil
}
