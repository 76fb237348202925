package inventory

import (
	"errors"
	"fmt"
	"strings"
)

// ParseMAC reads a MAC address in any common notation (00:15:65:AB:CD:EF,
// 00-15-65-ab-cd-ef, 0015.65ab.cdef, 001565ABCDEF) and returns it as
// 00:15:65:ab:cd:ef.
func ParseMAC(text string) (string, error) {
	hex := strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "", " ", "").Replace(text))
	if len(hex) != 12 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is no MAC address; write it like 00:15:65:ab:cd:ef", text)
	}
	if hex == "000000000000" {
		return "", errors.New("the MAC address is all zeros; leave it empty for a softphone")
	}
	if strings.ContainsRune("13579bdf", rune(hex[1])) {
		return "", fmt.Errorf("%q is a group address, not that of a phone", text)
	}
	var b strings.Builder
	for i := 0; i < len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(hex[i : i+2])
	}
	return b.String(), nil
}

// CompactMAC is the form in phones' file names: 12 lower-case hex digits.
func CompactMAC(mac string) string { return strings.ReplaceAll(mac, ":", "") }
