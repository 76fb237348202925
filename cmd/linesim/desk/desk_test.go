package desk_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/cmd/linesim/desk"
)

// Each file is written by hand as a vendor's phone would take it.
func TestEachBrandReadsItsOwnUnitsAndNames(t *testing.T) {
	for _, tc := range []struct {
		device  desk.Device
		asks    string // all names in order
		file    string // the one that is there
		content string
		want    desk.Account
	}{
		{
			desk.Device{Brand: "grandstream"},
			"/cfgc074ad112233 /cfgc074ad112233.bin /cfgc074ad112233.xml", "/cfgc074ad112233.xml",
			`<gs_provision version="1"><mac>c074ad112233</mac><config version="1"><P271>1</P271><P35>8001</P35><P34>x</P34><P47>d.test</P47>` +
				`<P48>10.0.0.1:5061</P48><P32>5</P32><P130>2</P130></config></gs_provision>`,
			desk.Account{User: "8001", AuthUser: "8001", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5061, Transport: "tls", Expires: 300},
		},
		{
			desk.Device{Brand: "fanvil"},
			"/f0X4hw1.100.cfg /c074ad112233.cfg", "/c074ad112233.cfg",
			`<sysConf><Version>2.0002</Version><sip><line index="1"><PhoneNumber>8001</PhoneNumber><RegisterUser>a</RegisterUser><RegisterPswd>x</RegisterPswd>` +
				`<RegisterAddr>d.test</RegisterAddr><ProxyAddr>10.0.0.1</ProxyAddr><ProxyPort>5061</ProxyPort><RegisterTTL>300</RegisterTTL><Transport>3</Transport>` +
				`<EnableReg>1</EnableReg></line></sip></sysConf>`,
			desk.Account{User: "8001", AuthUser: "a", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5061, Transport: "tls", Expires: 300},
		},
		{
			desk.Device{Brand: "snom", Model: "D345"},
			"/snomD345.htm /snomD345-C074AD112233.htm", "/snomD345-C074AD112233.htm",
			`<settings><phone-settings e="2"><user_active idx="1">on</user_active><user_name idx="1">8001</user_name><user_pass idx="1">x</user_pass>` +
				`<user_host idx="1">d.test</user_host><user_outbound idx="1">10.0.0.1:5060;transport=tcp</user_outbound><user_expiry idx="1">60</user_expiry></phone-settings></settings>`,
			desk.Account{User: "8001", AuthUser: "8001", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5060, Transport: "tcp", Expires: 60},
		},
		{
			desk.Device{Brand: "cisco", Model: "SPA504G"},
			"/spa504G.cfg", "/spa504G.cfg",
			`<flat-profile><Line_Enable_1_ ua="na">No</Line_Enable_1_><Line_Enable_1_>Yes</Line_Enable_1_><Register_1_>Yes</Register_1_><User_ID_1_>8001</User_ID_1_><Password_1_>x</Password_1_>` +
				`<Proxy_1_>d.test</Proxy_1_><Outbound_Proxy_1_>10.0.0.1:5060</Outbound_Proxy_1_><Register_Expires_1_>60</Register_Expires_1_><SIP_Transport_1_>UDP</SIP_Transport_1_></flat-profile>`,
			desk.Account{User: "8001", AuthUser: "8001", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5060, Transport: "udp", Expires: 60},
		},
		{
			desk.Device{Brand: "poly"},
			"/c074ad112233.cfg", "/c074ad112233.cfg",
			`<x reg.1.address="8001@d.test" reg.1.auth.password="x" reg.1.server.1.address="10.0.0.1" reg.1.server.1.port="5060" reg.1.server.1.expires="60"` +
				` reg.1.server.1.transport="TCPOnly" device.prov.serverName="elsewhere" device.prov.serverType="HTTPS"/>`,
			desk.Account{User: "8001", AuthUser: "8001", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5060, Transport: "tcp", Expires: 60},
		},
		{
			desk.Device{Brand: "htek"},
			"/cfg0012.xml /cfgc074ad112233 /cfgc074ad112233.xml", "/cfgc074ad112233.xml",
			`<hl_provision version="1"><config version="1"><P271 para="x">1</P271><P35>8001</P35><P34>x</P34><P47>d.test</P47><P48>10.0.0.1:5060</P48><P32>2</P32><P130>0</P130></config></hl_provision>`,
			desk.Account{User: "8001", AuthUser: "8001", Password: "x", Domain: "d.test", Server: "10.0.0.1", Port: 5060, Transport: "udp", Expires: 120},
		},
	} {
		t.Run(tc.device.Brand, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				if r.URL.Path != tc.file {
					http.NotFound(w, r)
					return
				}
				fmt.Fprint(w, tc.content)
			}))
			defer server.Close()
			tc.device.MAC, tc.device.URL = "C0:74:AD:11:22:33", server.URL+"/"
			result, err := tc.device.Provision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, result.Account); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
			if got := strings.Join(asked, " "); !strings.HasPrefix(got, tc.asks) {
				t.Errorf("asked for %s, want %s", got, tc.asks)
			}
		})
	}
}

func TestWhatAPhoneCannotRead(t *testing.T) {
	for _, brand := range desk.Brands() {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<open>") }))
		result, err := desk.Device{Brand: brand, MAC: "c074ad112233", URL: server.URL + "/"}.Provision(t.Context())
		if !errors.Is(err, desk.ErrForm) {
			t.Errorf("%s read it: %+v, %v", brand, result, err)
		}
		server.Close()
	}
	for _, device := range []desk.Device{{Brand: "snom", MAC: "12"}, {Brand: "nokia", MAC: "c074ad112233"}} {
		if _, err := device.Provision(t.Context()); err == nil {
			t.Errorf("%+v went on", device)
		}
	}
}
