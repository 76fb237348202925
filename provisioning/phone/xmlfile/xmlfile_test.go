package xmlfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/phone/xmlfile"
)

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	root := xmlfile.New("settings")
	keys := root.Add("keys", "e", "2")
	keys.Add("key", "idx", "1", "label", `a "b" <c> & 'd'`).Text = "blf 8001|**\r\n\t ]]> <!-- 好"
	keys.Add("key", "idx", "2")
	root.Child("line", "2").Child("User", "").Text = "8001"
	if root.Child("line", "2") != root.Children[1] || root.Child("line", "1") == root.Children[1] {
		t.Error("children by index are mixed up")
	}
	got, err := xmlfile.Decode(root.Encode())
	if diff := cmp.Diff(root, got); err != nil || diff != "" {
		t.Errorf("%v (-written +read):\n%s", err, diff)
	}
}

func TestWhatNoPhoneCouldRead(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "x", "open": "<a>", "two roots": "<a/><b/>", "text beside": "<a>x<b/></a>", "text behind": "<a><b/>x</a>",
		"comment": "<a><!-- x --></a>", "doctype": "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>", "entity": "<a>&x;</a>",
		"attribute twice": `<a b="1" b="2"/>`, "name space": `<a xmlns="urn:x"/>`, "bytes": "<a>\xff</a>", "instruction": "<a><?php x ?></a>",
		"deep": strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50), "large": "<a>" + strings.Repeat("x", 2<<20) + "</a>",
	} {
		if got, err := xmlfile.Decode([]byte(content)); err == nil {
			t.Errorf("%s was read as %+v", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a b="c"><d index="1">e</d></a>`))
	f.Fuzz(func(t *testing.T, content []byte) {
		root, err := xmlfile.Decode(content)
		if err != nil {
			return
		}
		again, err := xmlfile.Decode(root.Encode())
		if diff := cmp.Diff(root, again); err != nil || diff != "" {
			t.Errorf("%v (-read +read again):\n%s", err, diff)
		}
	})
}
