// Package record keeps what is said in calls: which calls by a policy, each party's packets as they came in a file of the
// call's own, and sound of it on demand.
//
// A Session looks on at the relay (relay.Tap) and copies packets into a ring; one goroutine, Recorder.Run, writes the
// rings to the files five times a second, so that a disk that hangs holds up nobody who talks. A file holds RTP packets
// with the times at which they came, by one clock for both parties, in chunks that are checked (CRC-32C) or encrypted and
// authenticated (AES-256-GCM under a key of the file's own, which internal/secret seals); what a crash leaves is whole up
// to the last chunk. Nothing is decoded before somebody listens: then both parties are laid on one time line, silence
// where nothing came, and leave as a stereo WAV or FLAC file, the caller left and the callee right.
//
// An announcement rides on the packets of the other party: same numbers and times, other sound, so that a telephone needs
// to know nothing of it. A recording that is announced begins when both parties have heard all of it.
//
// The package knows neither SIP nor who may listen. What it does not do: media that is encrypted from end to end, video,
// and sound of codecs that media/codec cannot decode, whose packets are kept as they are.
//
// Concurrency: a Recorder may be used by any goroutine. A Session belongs to the owner of its call; Packet is the relay
// worker's, Status may be asked by anybody.
//
//	s := recorder.Session(record.Call{ID: id, …}, policy, tell)
//	s.Describe(callerSDP, calleeSDP)
//	stream.Tap(s)
//	err := s.Start("phone 8001", caller)
//	s.Close("hung up")
//	sound, err := recorder.Sound(ctx, id)
//	io.Copy(w, sound.WAV())
package record
