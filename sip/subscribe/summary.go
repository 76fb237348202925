package subscribe

import "strconv"

// The event package "message-summary" (RFC 3842): the message waiting lamp.

const summaryType = "application/simple-message-summary"

// Messages counts what waits in a mailbox.
type Messages struct {
	New, Old             int // urgent ones included
	NewUrgent, OldUrgent int
}

// Mailboxes knows what waits for an extension. ok is false when it has no mailbox: a
// subscription is then told that nothing waits, and no unsolicited NOTIFY is sent.
type Mailboxes interface {
	Messages(extension string) (m Messages, ok bool)
}

// NoMailboxes is an exchange without voicemail.
type NoMailboxes struct{}

// Messages says that there is no mailbox.
func (NoMailboxes) Messages(string) (Messages, bool) { return Messages{}, false }

// summary writes the body. The account is the address of record: phones dial it with the
// message key.
func summary(account string, m Messages) []byte {
	waiting := "no"
	if m.New > 0 {
		waiting = "yes"
	}
	b := []byte("Messages-Waiting: " + waiting + "\r\nMessage-Account: " + account + "\r\nVoice-Message: ")
	b = strconv.AppendInt(b, int64(m.New), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(m.Old), 10)
	b = append(b, " ("...)
	b = strconv.AppendInt(b, int64(m.NewUrgent), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(m.OldUrgent), 10)
	return append(b, ")\r\n"...)
}
