package inventory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/simplifiedchinese"

	"linehall/provisioning/inventory"
)

const list = "# 电话 phones\r\n" +
	"mac;Model;site;extension;display_name;state;notes\r\n" +
	"00-15-65-00-00-01;T54W;hq;8001;\"值班;室\";;A 17\r\n" +
	"\r\n" +
	"# without a phone yet\r\n" +
	";;branch1;2001;财务室;;\r\n" +
	"0015.6500.00AA;T33G;hq;;;spare;A 99\r\n" +
	";;branch1;2900;;pool;\r\n" +
	";;branch1;2901;;disabled;"

func stranger(mac, model string) inventory.Stranger {
	return inventory.Stranger{MAC: mac, Model: model, Site: "branch1"}
}

// A change touches the cells that it is about and no other byte, whatever the file looks like.
func TestASheetKeepsWhatItIsNotAbout(t *testing.T) {
	for name, tc := range map[string]struct {
		change   func(*inventory.Sheet) error
		old, new string // lines
	}{
		"claim a prepared row": {
			func(s *inventory.Sheet) error { return s.Claim(stranger("00:04:13:00:00:04", "D785"), "2001", "") },
			";;branch1;2001;财务室;;", "00:04:13:00:00:04;D785;branch1;2001;财务室;;",
		},
		"claim with a name that needs quotes": {
			func(s *inventory.Sheet) error {
				return s.Claim(stranger("00:04:13:00:00:04", ""), "2001", `财务; "2"`)
			},
			";;branch1;2001;财务室;;", `00:04:13:00:00:04;;branch1;2001;"财务; ""2""";;`,
		},
		"claim a new extension": {
			func(s *inventory.Sheet) error {
				return s.Claim(stranger("00:04:13:00:00:04", "D785"), "2002", "云岭")
			},
			";;branch1;2901;;disabled;", ";;branch1;2901;;disabled;\r\n00:04:13:00:00:04;D785;branch1;2002;云岭;active;\r\n",
		},
		"replace by a stranger": {
			func(s *inventory.Sheet) error {
				_, err := s.Replace("00:15:65:00:00:01", stranger("00:15:65:00:00:02", "T57W"))
				return err
			},
			"00-15-65-00-00-01;T54W;hq;8001;", "00:15:65:00:00:02;T57W;hq;8001;",
		},
		"lend": {
			func(s *inventory.Sheet) error {
				extension, ok, err := s.Lend(stranger("00:04:13:00:00:04", "D785"))
				if extension != "2900" || !ok {
					t.Errorf("lent %q, %v", extension, ok)
				}
				return err
			},
			";;branch1;2900;;pool;", "00:04:13:00:00:04;D785;branch1;2900;;pool;",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for encoding, encode := range map[string]func(string) string{
				"utf-8": func(s string) string { return s }, "bom": func(s string) string { return "\xef\xbb\xbf" + s },
				"gb18030": func(s string) string {
					text, err := simplifiedchinese.GB18030.NewEncoder().String(s)
					if err != nil {
						t.Fatal(err)
					}
					return text
				},
				"unix": func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") },
			} {
				sheet, err := inventory.OpenSheet([]byte(encode(list)))
				if err != nil {
					t.Fatal(err)
				}
				same, err := sheet.Bytes()
				if err != nil || string(same) != encode(list) {
					t.Errorf("%s: opened and closed it differs: %v", encoding, err)
				}
				if err := tc.change(sheet); err != nil {
					t.Fatal(err)
				}
				want := encode(strings.Replace(list, tc.old, tc.new, 1))
				got, err := sheet.Bytes()
				if err != nil || string(got) != want {
					t.Errorf("%s: %v, got\n%s\nwant\n%s", encoding, err, got, want)
				}
			}
		})
	}
}

func TestASpareLeavesTheCupboard(t *testing.T) {
	sheet, err := inventory.OpenSheet([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	extension, err := sheet.Replace("00:15:65:00:00:01", stranger("00:15:65:00:00:aa", ""))
	if err != nil || extension != "8001" {
		t.Fatalf("%q, %v", extension, err)
	}
	got, err := sheet.Bytes()
	if err != nil || strings.Contains(string(got), "spare") || !strings.Contains(string(got), "00:15:65:00:00:aa;T33G;hq;8001;\"值班;室\";;A 17\r\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

// A phone that was lent a number gives it back when it is claimed for another one.
func TestAClaimGivesTheLentNumberBack(t *testing.T) {
	sheet, err := inventory.OpenSheet([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	phone := stranger("00:04:13:00:00:04", "D785")
	if _, ok, err := sheet.Lend(phone); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := sheet.Lend(stranger("00:04:13:00:00:05", "D785")); err != nil || ok {
		t.Errorf("an empty pool lends: %v, %v", ok, err)
	}
	if err := sheet.Claim(phone, "2001", ""); err != nil {
		t.Fatal(err)
	}
	got, err := sheet.Bytes()
	if want := strings.Replace(list, ";;branch1;2001;", "00:04:13:00:00:04;D785;branch1;2001;", 1); err != nil || string(got) != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}

func TestASheetRefuses(t *testing.T) {
	fresh := stranger("00:04:13:00:00:04", "D785")
	for name, tc := range map[string]struct {
		change func(*inventory.Sheet) error
		want   string
	}{
		"a phone that is in use":    {func(s *inventory.Sheet) error { return s.Claim(stranger("00:15:65:00:00:01", ""), "2001", "") }, `in the list already, extension "8001"`},
		"an extension with a phone": {func(s *inventory.Sheet) error { return s.Claim(fresh, "8001", "") }, "terminal replace"},
		"a disabled extension":      {func(s *inventory.Sheet) error { return s.Claim(fresh, "2901", "") }, "disabled"},
		"no extension":              {func(s *inventory.Sheet) error { return s.Claim(fresh, "", "") }, "needed"},
		"letters":                   {func(s *inventory.Sheet) error { return s.Claim(fresh, "20a", "") }, "must be digits"},
		"a name with a line break":  {func(s *inventory.Sheet) error { return s.Claim(fresh, "2001", "a\nb") }, "control character"},
		"an unknown broken phone":   {func(s *inventory.Sheet) error { _, err := s.Replace("00:15:65:00:00:99", fresh); return err }, "no row"},
		"the same phone":            {func(s *inventory.Sheet) error { _, err := s.Replace(fresh.MAC, fresh); return err }, "no row"},
		"itself": {func(s *inventory.Sheet) error {
			_, err := s.Replace("00:15:65:00:00:01", stranger("00:15:65:00:00:01", ""))
			return err
		}, "both are"},
		"a replacement that is used": {func(s *inventory.Sheet) error {
			_, err := s.Replace("00:15:65:00:00:aa", stranger("00:15:65:00:00:01", ""))
			return err
		}, "in use already"},
	} {
		sheet, err := inventory.OpenSheet([]byte(list))
		if err != nil {
			t.Fatal(err)
		}
		if err := tc.change(sheet); !errors.Is(err, inventory.ErrSheet) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tc.want)
		}
		if got, err := sheet.Bytes(); err != nil || string(got) != list {
			t.Errorf("%s changed the list: %v\n%s", name, err, got)
		}
	}
	if _, err := inventory.OpenSheet([]byte("mac,site\n")); !errors.Is(err, inventory.ErrSheet) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a broken list: %v", err)
	}
}

func TestWriteIsAtOnceAndKeepsWhatWasThere(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "terminals.csv")
	for i, content := range []string{"one", "two", "two", "three"} {
		if err := inventory.Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := os.Chmod(path, 0o640); err != nil { //nolint:gosec // that it stays is what the test is about
				t.Fatal(err)
			}
		}
	}
	for name, want := range map[string]string{path: "three", path + inventory.BackupSuffix: "two"} {
		got, err := os.ReadFile(name)
		info, errInfo := os.Stat(name)
		if err != nil || errInfo != nil || string(got) != want || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %q, %v, %v", name, got, info.Mode(), err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := inventory.Write(filepath.Join(folder, "none", "x.csv"), []byte("x")); err == nil {
		t.Error("written into a folder that is not there")
	}
}
