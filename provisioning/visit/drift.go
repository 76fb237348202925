package visit

// Drift is one way in which a phone is not what its row says.
type Drift string

// The drifts, the gravest first.
const (
	NotEnrolled     Drift = "not_enrolled"     // has never fetched its whole file with a token
	OldFile         Drift = "old_file"         // the settings that it fetched last are not those of now
	NotTold         Drift = "not_told"         // the next plan names it
	OtherModel      Drift = "other_model"      // says that it is another model than its row's
	NotRegistered   Drift = "not_registered"   // nobody has registered its extension
	ElsewhereSeen   Drift = "elsewhere"        // is registered from another site than its row's
	PasswordPending Drift = "password_pending" // has not registered with its new password yet
)

// Drifts lists all of them in their order.
func Drifts() []Drift {
	return []Drift{NotEnrolled, OldFile, NotTold, OtherModel, NotRegistered, ElsewhereSeen, PasswordPending}
}

// Facts are what a phone's drift is judged by.
type Facts struct {
	Enrolled   bool
	Settings   string // digest of what it is to have; "" = it gets no file from us
	Fetched    Delivery
	InPlan     bool
	SameModel  bool // what it says of itself, if anything, is the row's model
	Registered bool
	SeenAt     string // site of its registration, "" = none
	Site       string // of its row
	Pending    bool   // a new password waits for its registration
}

// Drifts judges; none means that the phone is as its row says.
func (f Facts) Drifts() []Drift {
	found := []Drift{}
	for _, one := range []struct {
		drift Drift
		is    bool
	}{
		{NotEnrolled, !f.Enrolled && f.Settings != ""},
		{OldFile, f.Enrolled && !f.Fetched.At.IsZero() && f.Settings != "" && f.Fetched.Settings != f.Settings},
		{NotTold, f.InPlan},
		{OtherModel, !f.SameModel},
		{NotRegistered, !f.Registered},
		{ElsewhereSeen, f.Registered && f.SeenAt != "" && f.SeenAt != f.Site},
		{PasswordPending, f.Pending},
	} {
		if one.is {
			found = append(found, one.drift)
		}
	}
	return found
}
