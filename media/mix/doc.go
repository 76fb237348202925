// Package mix holds what stands between packets and samples when a leg of ours takes part in a call: an Ear makes an even
// flow of samples and keys of the packets of one party (Inbox, Playout), a Mouth makes packets of samples, and a Mixer
// lets each of many legs hear all others but itself (mix-minus), at 16 kHz, every 20 ms.
//
// Ears, mouths and mixers know neither sockets nor SIP: packets are RTP (RFC 3550) in byte slices, clear, with the payload
// types that were negotiated. RTCP is not made. Nothing allocates per frame, except where Opus is decoded.
//
// Concurrency: Inbox.Put and Ear.Put may be called by any goroutine; everything else of a leg belongs to the one
// goroutine that ticks, which is Mixer.Run for a mixer.
//
//	ear, mouth := mix.NewEar(line), mix.NewMouth(line)
//	ear.Put(now, datagram)                                  // the reader of the socket
//	voice, keys := ear.Hear(now, samples)                   // every 20 ms
//	conn.Write(mouth.Say(samples))
package mix
