// Package program records what a meeting was about: the programme (one picture, the forwarded voices) and on request every
// participant by itself, as Matroska files (RFC 9559) that are written while the meeting runs. Nothing is decoded or encoded.
//
// A [Service] is the room's recorder (room.Recorder). The room gives it slots that follow what is shown and heard, as it
// gives them to a subscriber: the recorder's share of a venue's uplink is in the ledger like anybody's. Packets are copied off
// the publishers' goroutines; one goroutine per recording puts them in order, makes frames of them, places them by the
// publishers' sender reports and writes whole clusters of at most half a second. A crash costs what was not written, a second
// or so; what is there plays, and is given its index when the appliance starts again. The meeting carries the recording on in
// the next part.
//
// Sound for listening is mixed when somebody listens ([Part.Sound]); one file with everything in it is made by ffmpeg when
// somebody wants it ([Service.Export]).
package program
