package serve

import (
	"context"
	"errors"
	"regexp"
	"strconv"

	"linehall/provisioning/phone"
	"linehall/provisioning/phonebook"
)

// phonebookName are the names that phones ask for under their token: the one
// that their files name, with a number for further pages, and Poly's own.
var phonebookName = regexp.MustCompile(`^(?i)(?:phonebook(?:-([1-9][0-9]?))?\.xml|[0-9a-f]{12}-directory\.xml)$`)

// phonebookFile is what the phones' files name; Grandstream adds it itself.
const phonebookFile = "phonebook.xml"

// phonebook answers with the directory, which has names of people in it: the
// token and the site count as for the phone's own file.
func (s *Server) phonebook(ctx context.Context, a ask) answer {
	hint := phone.Detect(a.agent, "")
	result := answer{brand: hint.Brand, result: resultToken}
	mac, enrolled := s.Book.Holder(a.token)
	terminal, known := s.Directory.ByMAC(mac)
	at, inside := s.Atlas.Locate(a.remote)
	if !enrolled || !known || !terminal.MayRegister() || !inside {
		return result
	}
	if named, ok := phone.MACInName(a.name); hint.MAC != "" && hint.MAC != mac || ok && named != mac {
		result.result = resultMismatch
		return result
	}
	o := s.organisation.Load()
	brand := phone.BrandOf(o.Brands, terminal.Model, phone.Detect("", mac).Brand, "")
	if brand == nil {
		result.result = resultUnsupported
		return result
	}
	result.brand = brand.Name()
	plain := plainOnly(brand, terminal) && o.Profile(terminal).PlainSecrets
	switch _, _, err := s.entitled(ctx, a, terminal, at, plain); {
	case errors.Is(err, errRefused):
		return result
	case err != nil:
		s.fail(&result, a, err)
		return result
	}
	own, err := o.own(a.local)
	var content []byte
	if err == nil {
		content, err = o.phonebookPage(brand.Name(), own, a)
	}
	switch {
	case err != nil:
		s.fail(&result, a, err)
	case content == nil:
		result.result = resultNone
	default:
		result.result, result.content = resultPhonebook, content
	}
	return result
}

// phonebookPage is a page in the brand's form, nil behind the last one.
func (o *Organisation) phonebookPage(brand, own string, a ask) ([]byte, error) {
	number := 1
	if groups := phonebookName.FindStringSubmatch(a.name); groups[1] != "" {
		number, _ = strconv.Atoi(groups[1]) // one or two digits
	}
	page := phonebook.Page{Title: o.Name, Entries: o.Contacts}
	if size := phonebook.PageSize(brand); size > 0 {
		first := (number - 1) * size
		if first > 0 && first >= len(o.Contacts) {
			return nil, nil
		}
		last := min(first+size, len(o.Contacts))
		page.Entries = o.Contacts[first:last]
		if last < len(o.Contacts) {
			page.Next = o.base(own, a.secure) + tokenFolder + "/" + a.token + "/phonebook-" + strconv.Itoa(number+1) + ".xml"
		}
	} else if number > 1 {
		return nil, nil
	}
	return phonebook.Render(brand, page)
}
