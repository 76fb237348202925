// Package phonebook writes the organisation's directory in the XML that the
// phones of each brand fetch: names and numbers, nothing else. Names are in
// the order of their Chinese reading, as in a printed directory.
//
//	content, err := phonebook.Render(phone.Yealink, phonebook.Page{Title: "局机关", Entries: phonebook.Sort(entries)})
//
// Everything is a pure function.
package phonebook

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"linehall/provisioning/phone"
)

// Entry is somebody who can be called.
type Entry struct {
	Name   string
	Number string
	Group  string // of the site; "" = none
}

// Page is what one file holds.
type Page struct {
	Title   string
	Entries []Entry
	Next    string // address of the next page; "" = the last one
}

// ErrBrand means that the brand's phones take no such file.
var ErrBrand = errors.New("no phone book for this brand")

// perPage is how many entries a Cisco phone takes at once; others take all.
const perPage = 32

// PageSize is how many entries a file of the brand may have, 0 = any number.
func PageSize(brand string) int {
	if brand == phone.Cisco {
		return perPage
	}
	return 0
}

// Sort brings entries into the order of their names: Chinese ones by pinyin,
// others before them; the same name by number.
func Sort(entries []Entry) []Entry {
	sorted := slices.Clone(entries)
	order := collate.New(language.Chinese)
	slices.SortStableFunc(sorted, func(a, b Entry) int {
		if c := order.CompareString(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Number, b.Number)
	})
	return sorted
}

// Elements of the files. The names are the vendors'.
type (
	item struct {
		Name      string `xml:"Name"`
		Telephone string `xml:"Telephone"`
	}
	plain struct { // Yealink, Htek
		XMLName xml.Name
		Entries []item `xml:"DirectoryEntry"`
	}
	fanvilEntry struct {
		Name      string `xml:"Name"`
		Telephone string `xml:"Telephone"`
		Mobile    string `xml:"Mobile"`
		Other     string `xml:"Other"`
		Ring      string `xml:"Ring"`
		Group     string `xml:"Group"`
	}
	fanvil struct {
		XMLName xml.Name      `xml:"PhoneBook"`
		Entries []fanvilEntry `xml:"DirectoryEntry"`
	}
	grandstreamGroup struct {
		ID   int    `xml:"id"`
		Name string `xml:"name"`
	}
	grandstreamPhone struct {
		Type    string `xml:"type,attr"`
		Number  string `xml:"phonenumber"`
		Account int    `xml:"accountindex"`
	}
	grandstreamContact struct {
		ID        int              `xml:"id"`
		FirstName string           `xml:"FirstName"`
		LastName  string           `xml:"LastName"`
		Phone     grandstreamPhone `xml:"Phone"`
		Group     int              `xml:"Group,omitempty"`
	}
	grandstream struct {
		XMLName  xml.Name             `xml:"AddressBook"`
		Groups   []grandstreamGroup   `xml:"pbgroup"`
		Contacts []grandstreamContact `xml:"Contact"`
	}
	snomItem struct {
		Name string `xml:"name,attr"`
		URL  string `xml:"Url"`
	}
	snom struct {
		XMLName xml.Name   `xml:"SnomIPPhoneMenu"`
		Title   string     `xml:"Title"`
		Items   []snomItem `xml:"MenuItem"`
	}
	softKey struct {
		Name     string `xml:"Name"`
		URL      string `xml:"URL"`
		Position int    `xml:"Position"`
	}
	cisco struct {
		XMLName xml.Name  `xml:"CiscoIPPhoneDirectory"`
		Title   string    `xml:"Title"`
		Entries []item    `xml:"DirectoryEntry"`
		Keys    []softKey `xml:"SoftKeyItem"`
	}
	polyItem struct {
		First   string `xml:"fn"`
		Last    string `xml:"ln"`
		Contact string `xml:"ct"`
		Speed   string `xml:"sd"`
		Ring    string `xml:"rt"`
		Divert  int    `xml:"ad"`
		Refuse  int    `xml:"ar"`
		Watch   int    `xml:"bw"`
		Block   int    `xml:"bb"`
	}
	poly struct {
		XMLName xml.Name   `xml:"directory"`
		Items   []polyItem `xml:"item_list>item"`
	}
)

// Render writes a page in the brand's form; the same page gives the same bytes.
func Render(brand string, p Page) ([]byte, error) {
	document, err := build(brand, p)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	encoder := xml.NewEncoder(&b)
	encoder.Indent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("phone book of %s: %w", brand, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func build(brand string, p Page) (any, error) {
	items := make([]item, 0, len(p.Entries))
	for _, e := range p.Entries {
		items = append(items, item{phone.Plain(e.Name), e.Number})
	}
	switch brand {
	case phone.Yealink:
		return plain{XMLName: xml.Name{Local: "YealinkIPPhoneDirectory"}, Entries: items}, nil
	case phone.Htek:
		return plain{XMLName: xml.Name{Local: "PhoneDirectory"}, Entries: items}, nil
	case phone.Fanvil:
		var d fanvil
		for i, e := range p.Entries {
			d.Entries = append(d.Entries, fanvilEntry{Name: items[i].Name, Telephone: e.Number, Ring: "Default", Group: phone.Plain(e.Group)})
		}
		return d, nil
	case phone.Grandstream:
		return buildGrandstream(p, items), nil
	case phone.Snom:
		d := snom{Title: phone.Plain(p.Title)}
		for _, i := range items {
			d.Items = append(d.Items, snomItem{i.Name + "  " + i.Telephone, "snom://mb_nop#numberdial=" + i.Telephone})
		}
		return d, nil
	case phone.Cisco:
		d := cisco{Title: phone.Plain(p.Title), Entries: items}
		if p.Next != "" {
			d.Keys = []softKey{{"Dial", "SoftKey:Dial", 1}, {"Next", p.Next, 2}, {"Exit", "SoftKey:Exit", 3}}
		}
		return d, nil
	case phone.Poly:
		var d poly
		for _, i := range items {
			d.Items = append(d.Items, polyItem{Last: i.Name, Contact: i.Telephone})
		}
		return d, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrBrand, brand)
}

func buildGrandstream(p Page, items []item) grandstream {
	var d grandstream
	groups := map[string]int{}
	for i, e := range p.Entries {
		if group := phone.Plain(e.Group); group != "" && groups[group] == 0 {
			groups[group] = len(groups) + 1
			d.Groups = append(d.Groups, grandstreamGroup{groups[group], group})
		}
		d.Contacts = append(d.Contacts, grandstreamContact{
			ID: i + 1, LastName: items[i].Name, Phone: grandstreamPhone{"Work", e.Number, 0}, Group: groups[phone.Plain(e.Group)],
		})
	}
	return d
}
