package stack

import (
	"encoding/binary"
	"net/netip"
)

// STUN on the SIP port (RFC 5626 §3.5.2, RFC 8489): a phone learns by it whether its flow lives and whether its NAT still
// maps it to the same address. Only a Binding request without credentials is served.
const (
	stunHeader         = 20
	stunBindingRequest = 0x0001
	stunBindingSuccess = 0x0101
	stunXORMapped      = 0x0020
	stunCookie         = 0x2112a442
)

// stunAnswer returns the success response to a Binding request, or nil for anything else. It is never longer than 44
// bytes: no amplifier.
func stunAnswer(request []byte, from netip.AddrPort) []byte {
	if len(request) < stunHeader || binary.BigEndian.Uint16(request) != stunBindingRequest ||
		int(binary.BigEndian.Uint16(request[2:])) != len(request)-stunHeader || len(request)%4 != 0 {
		return nil
	}
	family, ip := byte(1), from.Addr().Unmap().AsSlice()
	if len(ip) == 16 {
		family = 2
	}
	out := make([]byte, stunHeader+8+len(ip))
	binary.BigEndian.PutUint16(out, stunBindingSuccess)
	binary.BigEndian.PutUint16(out[2:], uint16(8+len(ip))) //nolint:gosec // 12 or 24
	copy(out[4:stunHeader], request[4:stunHeader])         // cookie and transaction
	attribute := out[stunHeader:]
	binary.BigEndian.PutUint16(attribute, stunXORMapped)
	binary.BigEndian.PutUint16(attribute[2:], uint16(4+len(ip))) //nolint:gosec // 8 or 20
	attribute[5] = family
	binary.BigEndian.PutUint16(attribute[6:], from.Port()^(stunCookie>>16))
	for i, b := range ip {
		attribute[8+i] = b ^ out[4+i]
	}
	return out
}
