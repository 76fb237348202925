package serve

import (
	"crypto/sha256"
	"encoding/hex"

	"linehall/internal/directory"
	"linehall/provisioning/phone"
	"linehall/provisioning/plan"
	"linehall/provisioning/visit"
)

// Visits remembers what phones fetched and were refused; a nil one remembers
// nothing.
type Visits interface {
	Fetched(mac string, delivery visit.Delivery)
	Refused(mac string, refusal visit.Refusal)
}

// refusals are the results that a phone of ours has reason to complain about.
// A file that we do not have is none: phones walk through lists of names.
func refusals() map[string]visit.Reason {
	return map[string]visit.Reason{
		resultOutside: visit.Outside, resultToken: visit.WrongToken, resultMismatch: visit.Mismatch,
		resultInactive: visit.Inactive, resultUnsupported: visit.Unsupported, resultError: visit.Broken,
	}
}

// noteRefusal remembers why a phone of the list did not get its whole file. A
// datagram proves no address, so what came by TFTP from elsewhere is not noted.
func (s *Server) noteRefusal(a ask, result answer) {
	because := result.why
	if because == "" {
		because = refusals()[result.result]
	}
	if s.Visits == nil || because == "" || !a.http {
		return
	}
	terminal, known := s.asker(a)
	if !known {
		return
	}
	s.Visits.Refused(terminal.MAC, visit.Refusal{At: s.Now(), File: a.name, Address: a.remote.String(), Because: because})
}

// asker is the terminal whose file is asked for.
func (s *Server) asker(a ask) (directory.Terminal, bool) {
	mac, ok := phone.MACInName(a.name)
	if !ok {
		mac = phone.Detect(a.agent, "").MAC
	}
	if mac == "" {
		return directory.Terminal{}, false
	}
	return s.Directory.ByMAC(mac)
}

// noteDelivery remembers what the phone got.
func (s *Server) noteDelivery(a ask, result answer, terminal directory.Terminal) {
	if s.Visits == nil {
		return
	}
	hint := phone.Detect(a.agent, terminal.MAC)
	sum := sha256.Sum256(result.content)
	s.Visits.Fetched(terminal.MAC, visit.Delivery{
		At: s.Now(), File: a.name, Hash: hex.EncodeToString(sum[:]), Settings: s.organisation.Load().digest(terminal),
		Address: a.remote.String(), UserAgent: phone.Plain(a.agent), Model: hint.Model, Firmware: hint.Firmware,
	})
}

// digest is that of the settings which a terminal is to have now, "" when
// there are none.
func (o *Organisation) digest(t directory.Terminal) string {
	file, ok, err := o.WantedFile(t)
	if err != nil || !ok {
		return "" // whoever asks for the file is told
	}
	return plan.SettingsDigest(file.Settings)
}

// WantedFile is a terminal's file as plans compare it: settings line by line,
// with marks in the place of secrets. ok is false for a phone that gets none.
func (o *Organisation) WantedFile(t directory.Terminal) (file plan.File, ok bool, err error) {
	brand, settings, ok, err := o.Wanted(t, nil)
	if err != nil || !ok {
		return file, false, err
	}
	lines, err := brand.Lines(settings)
	return plan.File{
		MAC: t.MAC, Extension: t.Extension, Name: t.DisplayName, Site: string(t.Site), Model: t.Model, Brand: brand.Name(),
		Settings: lines, Resync: brand.Resync(),
	}, true, err
}
