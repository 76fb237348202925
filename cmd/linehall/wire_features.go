package main

import (
	"context"

	"linehall/configs"
	"linehall/sip/dialplan"
	"linehall/sip/feature"
)

// openFeatures reads what is switched on telephones.
func (t *telephony) openFeatures(ctx context.Context, config configs.Config, g *ground) error {
	t.zone.Store(config.Zone())
	t.language.Store(&config.Appliance.Language)
	var err error
	t.features, err = feature.Open(ctx, feature.Options{
		DB: g.db, Directory: g.directory, Plan: t.plan, Locations: t.locations, Hasher: g.users, Audit: g.audit, Domain: config.Appliance.Domain,
		Config: config.Feature, Language: func() string { return *t.language.Load() }, Zone: t.zone.Load, Log: g.log,
	})
	if err != nil {
		return err
	}
	t.locations.OnChange(t.features.Registered)
	return nil
}

// applyFeatures takes over what a reload changed.
func (t *telephony) applyFeatures(config configs.Config) {
	t.zone.Store(config.Zone())
	t.language.Store(&config.Appliance.Language)
	t.features.Apply(config.Feature)
}

// Group asks the plan of this moment.
func (p *currentPlan) Group(number string) (dialplan.GroupConfig, bool) {
	return p.now.Load().Group(number)
}

// Groups asks the plan of this moment.
func (p *currentPlan) Groups() []dialplan.GroupConfig { return p.now.Load().Groups() }
