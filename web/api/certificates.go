package api

import (
	"context"
	"net/http"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

type certificateList struct {
	Certificates []Certificate `json:"certificates"`
}

func (a *API) registerCertificates() {
	list := func(ctx context.Context) *body[certificateList] {
		certificates := a.opts.Certificates.Certificates(ctx)
		if certificates == nil {
			certificates = []Certificate{}
		}
		return &body[certificateList]{certificateList{certificates}}
	}
	view(a, operation("list-certificates", http.MethodGet, "/certificates", "certificates", "The certificates in use", watchers), watchers,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[certificateList], error) {
			return list(ctx), nil
		})
	change(a, operation("renew-certificates", http.MethodPost, "/certificates/renew", "certificates",
		"Make new server certificates now; the roots stay", admins), admins,
		func(context.Context, auth.Principal, *struct{}) (audit.Event, error) {
			return audit.Event{Action: "certificate.renew"}, nil
		},
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[certificateList], error) {
			if err := a.opts.Certificates.RenewCertificates(ctx); err != nil {
				return nil, err
			}
			return list(ctx), nil
		})
}
