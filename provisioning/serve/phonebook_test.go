package serve_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"linehall/provisioning/phonebook"
)

// The phone book is for phones that have enrolled, at their own site, by their token over HTTPS; everybody else is refused
// as for any other file.
func TestThePhoneBookIsForEnrolledPhones(t *testing.T) {
	x := newExchange(t)
	x.organisation.Contacts = []phonebook.Entry{{Name: "陈三", Number: "8003", Group: "局机关"}}
	x.server.Apply(x.organisation)
	_, err := x.server.OpenWindow(t.Context(), "branch1", 30*time.Minute, "admin")
	must(t, err)
	token, err := x.book.Token(t.Context(), ours, "branch1")
	must(t, err)
	path := "/prov/t/" + token + "/phonebook.xml"
	get := func(from, url, userAgent string) (int, string) {
		r := x.do(http.MethodGet, from, url, userAgent, nil)
		return r.status, r.body
	}
	if status, _ := get(branch, x.secure.URL+path, agent); status != http.StatusNotFound {
		t.Errorf("before the token was used: %d", status)
	}
	status, file := get(branch, x.secure.URL+"/prov/t/"+token+"/"+oursFile, agent)
	if status != http.StatusOK || !strings.Contains(file, "remote_phonebook.data.1.url = https://") || !strings.Contains(file, "/"+token+"/phonebook.xml") {
		t.Errorf("the phone's file does not name the book: %d\n%s", status, file)
	}
	status, book := get(branch, x.secure.URL+path, agent)
	if status != http.StatusOK || !strings.Contains(book, "<YealinkIPPhoneDirectory>") || !strings.Contains(book, "<Name>陈三</Name>") {
		t.Errorf("%d\n%s", status, book)
	}
	for what, ask := range map[string][3]string{
		"another site":       {path, hq, agent},
		"outside":            {path, outside, agent},
		"a wrong token":      {"/prov/t/" + strings.Repeat("a", len(token)) + "/phonebook.xml", branch, agent},
		"no token":           {"/prov/phonebook.xml", branch, agent},
		"another phone":      {path, branch, "Yealink SIP-T33G 124.86.0.75 00:15:65:00:00:09"},
		"another phone's":    {"/prov/t/" + token + "/001565000009-directory.xml", branch, ""},
		"behind the last":    {"/prov/t/" + token + "/phonebook-2.xml", branch, agent},
		"a page without end": {"/prov/t/" + token + "/phonebook-999.xml", branch, agent},
	} {
		if status, body := get(ask[1], x.secure.URL+ask[0], ask[2]); status != http.StatusNotFound || strings.Contains(body, "陈三") {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if status, body := get(branch, x.plain+path, agent); status != http.StatusNotFound {
		t.Errorf("without encryption: %d %s", status, body)
	}
}
