package phonebook_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/phone"
	"linehall/provisioning/phonebook"
)

var update = flag.Bool("update", false, "write the golden files")

func brands() []string {
	return []string{phone.Yealink, phone.Grandstream, phone.Fanvil, phone.Snom, phone.Cisco, phone.Poly, phone.Htek}
}

func page() phonebook.Page {
	return phonebook.Page{Title: "局机关 & 分局", Next: "https://10.1.0.10:8443/prov/t/x/phonebook-2.xml", Entries: phonebook.Sort([]phonebook.Entry{
		{Name: "赵六", Number: "2001", Group: "林东"},
		{Name: "陈<三>", Number: "8003", Group: "局机关"},
		{Name: "Front desk", Number: "8000"},
		{Name: "安保\n室", Number: "8002", Group: "局机关"},
		{Name: "陈<三>", Number: "8001", Group: "局机关"},
	})}
}

// The elements that the reference knows of each brand's file; a phone may stumble over another.
var known = map[string]string{
	phone.Yealink: "YealinkIPPhoneDirectory DirectoryEntry Name Telephone", phone.Htek: "PhoneDirectory DirectoryEntry Name Telephone",
	phone.Fanvil:      "PhoneBook DirectoryEntry Name Telephone Mobile Other Ring Group",
	phone.Grandstream: "AddressBook pbgroup id name Contact FirstName LastName Phone phonenumber accountindex Group",
	phone.Snom:        "SnomIPPhoneMenu Title MenuItem Url", phone.Cisco: "CiscoIPPhoneDirectory Title DirectoryEntry Name Telephone SoftKeyItem URL Position",
	phone.Poly: "directory item_list item ln fn ct sd rt ad ar bw bb",
}

func TestEachBrandsFile(t *testing.T) {
	for _, brand := range brands() {
		got, err := phonebook.Render(brand, page())
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", brand+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", brand, diff)
		}
		decoder := xml.NewDecoder(strings.NewReader(string(got)))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", brand, err)
			}
			if e, ok := token.(xml.StartElement); ok && !strings.Contains(" "+known[brand]+" ", " "+e.Name.Local+" ") {
				t.Errorf("%s: element %s", brand, e.Name.Local)
			}
		}
	}
	if _, err := phonebook.Render(phone.Other, page()); !errors.Is(err, phonebook.ErrBrand) {
		t.Errorf("another brand: %v", err)
	}
}

// As in a printed directory: Latin names, then Chinese ones by pinyin (an, chen, zhao), the same name by number.
func TestOrder(t *testing.T) {
	var got []string
	for _, e := range page().Entries {
		got = append(got, e.Number)
	}
	if diff := cmp.Diff([]string{"8000", "8002", "8001", "8003", "2001"}, got); diff != "" {
		t.Error(diff)
	}
}
