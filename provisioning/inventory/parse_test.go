package inventory

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/simplifiedchinese"
)

const header = "mac,model,site,extension,display_name,template,state,notes\n"

func TestParseTakesWhatSpreadsheetsWrite(t *testing.T) {
	gb, err := simplifiedchinese.GB18030.NewEncoder().String(header + "001565ABCDEF,T54W,hq,8001,值班室,,active,三楼\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"plain":            header + "00:15:65:ab:cd:ef,T54W,hq,8001,值班室,,active,三楼\n",
		"mark and CRLF":    "\xef\xbb\xbf" + strings.ReplaceAll(header, "\n", "\r\n") + "00-15-65-AB-CD-EF,T54W,hq,8001,值班室,,active,三楼\r\n",
		"semicolons":       strings.ReplaceAll(header, ",", ";") + "0015.65ab.cdef;T54W;hq;8001;值班室;;active;三楼\n",
		"GB18030":          gb,
		"quotes":           header + `"00:15:65:AB:CD:EF","T54W","hq","8001","值班室","","active","三楼"` + "\n",
		"spaces, no end":   header + " 00 15 65 ab cd ef , T54W , hq , 8001 , 值班室 ,, Active ,三楼",
		"comments, blanks": "# 话机清单\n" + header + "\n# hq\n00:15:65:ab:cd:ef,T54W,hq,8001,值班室,,,三楼\n,,,,,,,\n",
		"other order":      "Extension,MAC,Site,Display_Name,Model,Notes\n8001,001565abcdef,hq,值班室,T54W,三楼\n",
	} {
		t.Run(name, func(t *testing.T) {
			rows, problems := Parse([]byte(content))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			want := Row{
				MAC: "00:15:65:ab:cd:ef", Model: "T54W", Site: "hq", Extension: "8001", DisplayName: "值班室", State: StateActive,
				Notes: "三楼", Digest: "MD5",
			}
			if len(rows) != 1 || !rows[0].Same(want) {
				t.Errorf("rows %+v", rows)
			}
		})
	}
}

func TestParseListsEveryProblem(t *testing.T) {
	for _, tc := range []struct{ name, content, want string }{
		{"empty file", "", `1:1 the file is empty; its first line is "mac,model,site,extension,display_name,template,state,notes"`},
		{"UTF-16", "\xff\xfem\x00", "1:1 the file is UTF-16; save it as CSV UTF-8"},
		{"bytes", header + "\xff\xff\xff", "1:1 the file is neither UTF-8 nor GB18030; save it as CSV UTF-8"},
		{"columns", "mac,mac,sitee,extension\n", "" +
			"1:1 column \"site\" is missing; the first line is \"mac,model,site,extension,display_name,template,state,notes\"\n" +
			"1:5 column \"mac\" is there twice\n1:9 unknown column \"sitee\"; did you mean \"site\"?"},
		{"field count", header + "001565000001,T54W,hq,8001\n001565000002,T54W,hq,8002,值班,,active,,9\n", "" +
			"2:1 4 fields, but the header has 8 columns\n3:39 9 fields, but the header has 8 columns"},
		{"quote", header + "001565000001,T54W,hq,8001,值\"班,,active,\n001565000002,T54W,hq,80b2,值班,,active,\n", "" +
			"2:28 no CSV here: bare \" in non-quoted-field\n3:22 extension \"80b2\" must be digits"},
		{"MAC", header + "00:15:65,,hq,8001,,,,\n01:15:65:00:00:01,,hq,8002,,,,\n000000000000,,hq,8003,,,,\n", "" +
			"2:1 \"00:15:65\" is no MAC address; write it like 00:15:65:ab:cd:ef\n" +
			"3:1 \"01:15:65:00:00:01\" is a group address, not that of a phone\n" +
			"4:1 the MAC address is all zeros; leave it empty for a softphone"},
		{"extension", header + "001565000001,,hq,8,,,,\n001565000002,,hq,,,,,\n001565000003,,hq,,,,spare,\n,,hq,,,,spare,\n", "" +
			"2:18 extension \"8\" must have 2 to 8 digits\n" +
			"3:18 the terminal needs an extension; only a spare with a MAC address may go without\n" +
			"5:6 the terminal needs an extension; only a spare with a MAC address may go without"},
		{"site", header + "001565000001,,,8001,,,,\n", "2:15 the terminal needs a site"},
		{"injection", header + "001565000001,,hq,8001,\"a\naccount.1.password = x\",,,\n", "2:23 display_name has a control character in it"},
		{"template", header + "001565000001,,hq,8001,,../x,,\n", "2:24 template \"../x\" must be letters, digits, _ and -"},
		{"twice", header + "001565000001,,hq,8001,,,,\n00-15-65-00-00-01,,hq,8001,,,,\n", "" +
			"3:1 MAC address \"00:15:65:00:00:01\" is that of line 2 column 1 already\n" +
			"3:23 extension \"8001\" is that of line 2 column 18 already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := Parse([]byte(tc.content))
			var lines []string
			for _, p := range problems {
				lines = append(lines, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Message))
			}
			if diff := cmp.Diff(tc.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParse reads any bytes as terminals.csv: nothing that could inject a line
// into a phone's file comes out, and MAC addresses and extensions are unique
// unless a problem says otherwise.
func FuzzParse(f *testing.F) {
	f.Add([]byte(header + "001565000001,T54W,hq,8001,值班室,,active,\n"))
	f.Add([]byte("\xef\xbb\xbfextension;mac;site\r\n8001;;hq\r\n"))
	f.Add([]byte(header + "\"\n\",,,,"))
	f.Fuzz(func(t *testing.T, content []byte) {
		before := bytes.Clone(content)
		rows, problems := Parse(content)
		if !bytes.Equal(before, content) {
			t.Error("the input was changed")
		}
		seen := map[string]bool{}
		for _, row := range rows {
			for _, text := range []string{row.Model, string(row.Site), row.Extension, row.DisplayName, row.Template, row.Notes, row.Class} {
				if strings.ContainsAny(text, "\r\n\x00") || len([]rune(text)) > maxName {
					t.Errorf("dangerous text %q", text)
				}
			}
			if len(problems) == 0 && row.MAC != "" && seen[row.MAC] {
				t.Errorf("MAC %s twice without a problem", row.MAC)
			}
			seen[row.MAC] = true
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 {
				t.Errorf("problem without a place: %+v", p)
			}
		}
	})
}
