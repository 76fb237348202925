// Package srtp secures and opens RTP and RTCP in place: RFC 3711 with AES-CM and HMAC-SHA1 (RFC 6188 for longer keys),
// RFC 7714 with AES-GCM, and the keys that SDES carries in session descriptions (RFC 4568).
//
// A Session is our end of one medium with one party: what the party sends is opened with its key, what it gets is sealed
// with ours. Each source that is sealed gets an SSRC of ours, chosen at random under each key and after each restart. So
// its roll-over counter begins at zero on both sides without a word in the signalling, and no index is ever used twice
// under one key, whatever a restart has forgotten; see ADR 0025. Reports are translated accordingly.
//
// What a party sends moves state (replay window, roll-over counter, table of sources) only after it was authenticated.
//
// The package knows no sockets, no DTLS and no MIKEY, and sends no MKI. It sets no limit on a key's life but that of the
// index.
//
// Concurrency: RTP of a session is opened by one goroutine at a time, and sealed by one; RTCP, State and the making of
// keys by any.
//
//	c, err := srtp.ParseCrypto(`1 AES_CM_128_HMAC_SHA1_80 inline:...`)
//	s := srtp.NewSession(srtp.NewKey(c.Key.Suite), c.Key)
//	n, ok := s.Open(datagram, false)
//	n, ok = s.Seal(buffer, n, false) // buffer has Overhead bytes more than n
package srtp
