// Package bulk keeps files, pages, recordings and firmware from filling a leased line: everything that the appliance exchanges
// over its TCP ports with a site behind a line passes one token bucket per site and direction, at the rate that calls and
// meetings leave (media/line, class bulk), and at least at a small guaranteed one while somebody waits.
//
//	HTTPS, provisioning HTTP ─► Conn: writes wait, reads are taken slower ─┐
//	TFTP                     ─► Bucket.Wait                                ├─► the site's line
//	WebSockets (signalling)  ─► Conn: at once, but at the bucket's cost   ─┘
//
// A connection that became a WebSocket carries signalling: what it sends goes first and is only counted, except what is larger
// than a message should be. The receive buffer of a connection behind a line is small, so that reading slower makes its sender
// slower within some milliseconds of the line's time.
//
// Sites without a line, and addresses of no site, are not held back. All methods may be called by any goroutine.
//
//	shaper := bulk.New(ledger, atlas)
//	server.ConnState = bulk.Watch
//	server.Serve(shaper.Listener(listener))
package bulk
