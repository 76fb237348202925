package main

import (
	"context"
	"errors"
	"fmt"

	"linehall/internal/directory"
	"linehall/internal/setting"
	"linehall/sip/feature"
	"linehall/sip/subscribe"
)

// featureKeys lets the keys of phones (as-feature-event) show and change what codes change.
type featureKeys struct {
	features  *feature.Service
	directory *directory.Directory
}

// keyKinds are the forwards that phones have keys for.
func keyKinds() map[subscribe.ForwardKind]feature.Kind {
	return map[subscribe.ForwardKind]feature.Kind{
		subscribe.ForwardAlways: feature.Always, subscribe.ForwardBusy: feature.Busy, subscribe.ForwardNoAnswer: feature.NoAnswer,
	}
}

// Settings implements subscribe.Features.
func (k featureKeys) Settings(extension string) (subscribe.Settings, bool) {
	if _, known := k.directory.ByExtension(extension); !known || extension == "" {
		return subscribe.Settings{}, false
	}
	own := k.features.Settings(extension)
	shown := subscribe.Settings{DoNotDisturb: own.DoNotDisturb, Forwards: map[subscribe.ForwardKind]subscribe.Forward{}}
	for key, kind := range keyKinds() {
		f := own.Forward(kind)
		shown.Forwards[key] = subscribe.Forward{On: f.On, To: f.To, Rings: own.Rings()}
	}
	return shown, true
}

// SetDoNotDisturb implements subscribe.Features.
func (k featureKeys) SetDoNotDisturb(ctx context.Context, extension string, on bool) error {
	return keyProblem(k.features.ChangeByPhone(ctx, extension, fmt.Sprint("do_not_disturb ", on), func(own *feature.Settings) { own.DoNotDisturb = on }))
}

// SetForward implements subscribe.Features.
func (k featureKeys) SetForward(ctx context.Context, extension string, kind subscribe.ForwardKind, f subscribe.Forward) error {
	return keyProblem(k.features.SetForwardByPhone(ctx, extension, keyKinds()[kind], feature.Forward{On: f.On, To: f.To}, f.Rings))
}

// keyProblem tells a setting that is not allowed from our own failure.
func keyProblem(err error) error {
	if _, is := errors.AsType[*setting.Complaint](err); is {
		return fmt.Errorf("%w: %w", subscribe.ErrNotAllowed, err)
	}
	return err
}
