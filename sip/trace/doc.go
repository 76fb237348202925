// Package trace keeps the SIP messages of calls for people who must find out what happened: as a ladder (who sent what to
// whom, when), as a capture file for other tools, and live to a capture server over HEP version 3.
//
// The stack shows every message that comes in or goes out (Book.Message); the call core says which Call-IDs belong to
// which call (Book.Bind) and when the call is over (Book.End). Messages wait under their Call-ID until then; those that
// no call claims are forgotten, and what no INVITE began is not even copied, unless a capture server wants it. A finished call's messages go to the database a few seconds later, compressed, and stay
// for Config.Keep, within Config.MaxSize.
//
// Secrets are masked before anything is kept or sent on: digest responses, SDES and ICE keys, DTMF digits, text messages,
// and what is dialled behind a feature code. Masking keeps every length, so that the messages stay well-formed.
//
// Everything is bounded: messages per Call-ID, Call-IDs, bytes in memory, bytes on disk. What does not fit is counted,
// never waited for. Book is safe for concurrent use.
//
//	book, err := trace.Open(ctx, trace.Options{DB: db, Config: config})
//	go book.Run(ctx)
//	ladder, err := book.Ladder(ctx, callID)
package trace
