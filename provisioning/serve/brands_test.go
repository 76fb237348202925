package serve_test

import (
	"net/http"
	"strings"
	"testing"

	"linehall/internal/directory"
	"linehall/provisioning/inventory"
)

// branded is what a phone of each brand does, by the reference: who it says
// it is, the names that it must not get, and its own file.
type branded struct {
	extension, mac, model, agent string
	missing                      []string
	common                       string // "" = none
	own                          string
}

func fleet() []branded {
	return []branded{
		{
			"2011", "80:5e:c0:11:22:01", "T54W", "Yealink SIP-T54W 96.86.0.45 80:5e:c0:11:22:01",
			[]string{"805ec0112201.boot", "y000000000000.boot", "805ec0112201-local.cfg"},
			"y000000000096.cfg", "805ec0112201.cfg",
		},
		{
			"2012", "c0:74:ad:11:22:02", "GRP2614", "Grandstream Model HW GRP2614 SW 1.0.5.48 DevId c074ad112202",
			[]string{"cfgc074ad112202", "cfgc074ad112202.bin", "cfggrp2614.xml", "cfg.xml"},
			"", "cfgc074ad112202.xml",
		},
		{
			"2013", "0c:38:3e:11:22:03", "X4U", "Fanvil X4U 2.4.10 0c383e112203",
			[]string{"f0X4hw1.100.cfg", "fanvil_x4u_v2_hwv2_0.txt"},
			"", "0c383e112203.cfg",
		},
		{
			"2014", "00:04:13:11:22:04", "D785", "Mozilla/4.0 (compatible; snomD785-SIP 10.1.33.33 2010.12-00004-g9ba52f5 000413112204 SXM:0 UXM:0)",
			nil, "snomD785.htm", "snomD785-000413112204.htm",
		},
		{
			"2015", "00:0e:08:11:22:05", "8841", "Cisco-CP-8841-3PCC/12.0.7 (000e08112205)",
			[]string{"SEP000E08112205.cnf.xml", "CTLSEP000E08112205.tlv"},
			"8841-3PCC.xml", "000e08112205.xml",
		},
		{
			"2016", "64:16:7f:11:22:06", "VVX 450", "FileTransport PolycomVVX-VVX_450-UA/6.4.3.5059 Type/Application",
			[]string{"64167f112206.cfg", "64167f112206-phone.cfg", "64167f112206-web.cfg", "64167f112206-license.cfg", "000000000000-license.cfg"},
			"000000000000.cfg", "64167f112206-user.cfg",
		},
		{
			"2017", "00:1f:c1:11:22:07", "UC924", "Htek UC924 2.0.4.2 00:1f:c1:11:22:07",
			[]string{"cfg0012.xml", "cfg001fc1112207"},
			"", "cfg001fc1112207.xml",
		},
	}
}

func TestEveryBrandGetsItsFilesAndNothingElse(t *testing.T) {
	x := newExchange(t)
	secrets := map[string]string{}
	var rows []directory.Terminal
	for _, p := range fleet() {
		rows = append(rows, directory.Terminal{Extension: p.extension, Site: "branch1", MAC: p.mac, Model: p.model, State: directory.Active})
	}
	must(t, x.terminals.Apply(t.Context(), rows))
	for _, p := range fleet() {
		var err error
		secrets[p.extension], err = x.terminals.Password(t.Context(), p.extension)
		must(t, err)
	}
	for _, p := range fleet() {
		ask := func(from, url string) reply { return x.do(http.MethodGet, from, url, p.agent, nil) }
		refusal := ask(branch, x.plain+"/nothing.cfg")
		for _, base := range []string{x.plain + "/", x.secure.URL + "/prov/"} {
			for _, name := range p.missing {
				if got := ask(branch, base+name); got.status != http.StatusNotFound || got.body != refusal.body {
					t.Errorf("%s: %s gave %d", p.model, name, got.status)
				}
			}
			names := []string{p.own}
			if p.common != "" {
				names = append(names, p.common)
			}
			for _, name := range names {
				got := ask(branch, base+name)
				if got.status != http.StatusOK || strings.Contains(got.body, secrets[p.extension]) {
					t.Errorf("%s: %s gave %d, and may hold a secret:\n%s", p.model, name, got.status, got.body)
				}
			}
		}
		if got := ask(outside, x.plain+"/"+p.own); got.status != http.StatusNotFound || got.body != refusal.body {
			t.Errorf("%s from outside: %d", p.model, got.status)
		}
	}
	x.open()
	for _, p := range fleet() {
		ask := func(from, url string) reply { return x.do(http.MethodGet, from, url, p.agent, nil) }
		full := ask(branch, x.secure.URL+"/prov/"+p.own)
		if full.status != http.StatusOK || !strings.Contains(full.body, secrets[p.extension]) {
			t.Errorf("%s in the window: %d\n%s", p.model, full.status, full.body)
			continue
		}
		_, rest, _ := strings.Cut(full.body, "/prov/t/")
		token := strings.ToLower(rest[:26])
		again := ask(branch, x.secure.URL+"/prov/t/"+token+"/"+p.own)
		if again.body != full.body {
			t.Errorf("%s with its token: %d, other contents", p.model, again.status)
		}
		for what, got := range map[string]reply{
			"elsewhere":     ask(hq, x.secure.URL+"/prov/t/"+token+"/"+p.own),
			"by plain HTTP": ask(branch, x.plain+"/t/"+token+"/"+p.own),
			"guessed":       ask(branch, x.secure.URL+"/prov/t/aaaaaaaaaaaaaaaaaaaaaaaaaa/"+p.own),
		} {
			if got.status != http.StatusNotFound {
				t.Errorf("%s: its token %s: %d", p.model, what, got.status)
			}
		}
	}
}

// A Cisco SPA trusts no certificate of ours: it gets its password by plain
// HTTP, and only if the organisation names it.
func TestPasswordsByPlainHTTPAreAnExceptionWithAName(t *testing.T) {
	x := newExchange(t)
	const spa, file = "Cisco/SPA504G-7.4.8a (0002FDFF2103)(CBT141400UK)", "/0002fdff2103.xml"
	must(t, x.terminals.Apply(t.Context(), []directory.Terminal{
		{Extension: "2018", Site: "branch1", MAC: "00:02:fd:ff:21:03", Model: "SPA504G", State: directory.Active},
	}))
	secret, err := x.terminals.Password(t.Context(), "2018")
	must(t, err)
	ask := func(from, url string) reply { return x.do(http.MethodGet, from, url, spa, nil) }
	if got := ask(branch, x.plain+"/spa504G.cfg"); !strings.Contains(got.body, "http://127.0.0.1:8080/$MA.xml") {
		t.Errorf("its first file does not name its own: %d\n%s", got.status, got.body)
	}
	x.open()
	for _, url := range []string{x.plain + file, x.secure.URL + "/prov" + file} {
		got := ask(branch, url)
		if strings.HasPrefix(url, x.plain) && strings.Contains(got.body, secret) {
			t.Errorf("%s without an exception: the password is out", url)
		}
		if !strings.Contains(got.body, "Profile_Rule") {
			t.Errorf("%s: %d\n%s", url, got.status, got.body)
		}
	}
	x.organisation.Terminals.Overrides = []inventory.Override{{Extension: "2018", PlainSecrets: true}}
	x.server.Apply(x.organisation)
	x.open()
	full := ask(branch, x.plain+file)
	if !strings.Contains(full.body, secret) || !strings.Contains(full.body, "http://127.0.0.1:8080/t/") {
		t.Fatalf("with the exception: %d\n%s", full.status, full.body)
	}
	_, rest, _ := strings.Cut(full.body, ":8080/t/")
	token := rest[:26]
	if got := ask(branch, x.plain+"/t/"+token+file); got.body != full.body {
		t.Errorf("with its token: %d", got.status)
	}
	for what, got := range map[string]reply{
		"elsewhere": ask(hq, x.plain+"/t/"+token+file), "guessed": ask(branch, x.plain+"/t/aaaaaaaaaaaaaaaaaaaaaaaaaa"+file),
	} {
		if got.status != http.StatusNotFound {
			t.Errorf("%s: %d\n%s", what, got.status, got.body)
		}
	}
}
