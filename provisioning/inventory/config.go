package inventory

import (
	"time"

	"linehall/internal/setting"
)

// Config is the section "terminals".
type Config struct {
	// File is the list of terminals, relative to the configuration file.
	File string `yaml:"file"`
	// Templates is the folder of the organisation's own additions to phone
	// files, relative to the configuration file: the column "template" of a
	// terminal names a file BRAND/NAME.cfg in it, whose lines win over ours.
	Templates string `yaml:"templates"`
	// EnrolmentMax is the longest that an enrolment window may stay open.
	EnrolmentMax time.Duration `yaml:"enrolment_max"`
	// AdminPassword protects the menus and the web page of every phone; ""
	// leaves what is set on the phone.
	AdminPassword setting.Secret `yaml:"admin_password"`
}

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{File: "terminals.csv", Templates: "templates/", EnrolmentMax: 4 * time.Hour}
}

// Validate reports every value out of range.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.File == "" {
		found.Add("file", "the list of terminals needs a file name, like terminals.csv")
	}
	found.Between("enrolment_max", c.EnrolmentMax, time.Minute, 24*time.Hour)
	if err := validPhonePassword(c.AdminPassword.Reveal()); err != nil {
		found.Add("admin_password", "the password %s", err)
	}
	return found.Err()
}

// TemplateSuffix ends the name of a template's file.
const TemplateSuffix = ".cfg"
