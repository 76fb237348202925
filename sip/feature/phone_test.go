package feature

import (
	"errors"
	"testing"
)

// Keys of a phone change what codes change, are recorded, and cannot forward to where a code could not.
func TestKeysOfAPhone(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	if err := o.SetForwardByPhone(t.Context(), "8001", NoAnswer, to("8002"), 3); err != nil {
		t.Fatal(err)
	}
	own := o.Settings("8001")
	if own.NoAnswer != to("8002") || own.NoAnswerSeconds != 15 || own.Rings() != 3 {
		t.Errorf("set %+v", own)
	}
	if err := o.SetForwardByPhone(t.Context(), "8001", NoAnswer, Forward{}, 0); err != nil {
		t.Fatal(err)
	}
	if got := o.Settings("8001").Forward(NoAnswer); got != (Forward{To: "8002"}) {
		t.Errorf("switched off: %+v", got)
	}
	if err := o.SetForwardByPhone(t.Context(), "8006", Always, to("013800000000"), 0); err == nil {
		t.Error("a key forwards where the class does not reach")
	}
	if n := len(o.journal.events); n != 3 || o.journal.events[0].Actor != "phone 8001" {
		t.Errorf("%d records: %+v", n, o.journal.events)
	}
	o.journal.fail = errors.New("disk full")
	if err := o.ChangeByPhone(t.Context(), "8001", "dnd", func(own *Settings) { own.DoNotDisturb = true }); !errors.Is(err, ErrStore) || o.Settings("8001").DoNotDisturb {
		t.Errorf("without a record: %v", err)
	}
}
