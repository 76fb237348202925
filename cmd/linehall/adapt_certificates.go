package main

import (
	"context"

	"linehall/internal/pki"
	"linehall/web/api"
)

// certificatesView shows the authority to the API.
type certificatesView struct{ authority *pki.Authority }

// Certificates lists what is in use.
func (v certificatesView) Certificates(context.Context) []api.Certificate {
	var shown []api.Certificate
	for _, c := range v.authority.Certificates() {
		shown = append(shown, api.Certificate(c))
	}
	return shown
}

// RenewCertificates makes new server certificates now; listeners show them from the next handshake on.
func (v certificatesView) RenewCertificates(ctx context.Context) error {
	return v.authority.Reissue(ctx)
}
