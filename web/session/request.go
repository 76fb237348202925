package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"linehall/internal/auth"
	"linehall/internal/observe"
)

// MaxBody bounds request bodies: the API's largest are a few hundred bytes. Bigger uploads need a handler of their own
// outside Handler.
const MaxBody = 1 << 20

// listener is the label of what is refused here.
const listener = "https"

// ContentSecurityPolicy allows what the pages need and nothing else: no inline script or style, nothing from elsewhere.
const ContentSecurityPolicy = "default-src 'self'; connect-src 'self' wss:; img-src 'self' data: blob:; media-src 'self' blob:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler wraps what the HTTPS port serves: security headers, refusal of cross-origin changes, a limit on bodies, and
// recognition. It lets requests of nobody through: what they may do is the next handler's decision.
func (m *Manager) Handler(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m.opts.Dropped.Count(listener, "cross_origin")
		problem(w, http.StatusForbidden, "the request comes from another site")
	}))
	return headers(crossOrigin.Handler(m.recognise(next)))
}

// Local wraps what the unix socket serves: whoever may open the socket is the administrator.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		ctx := withRequest(r.Context(), request{source: "local"})
		next.ServeHTTP(w, r.WithContext(auth.WithPrincipal(ctx, auth.Local())))
	})
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", ContentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), screen-wake-lock=(self), fullscreen=(self), autoplay=(self), geolocation=(), payment=(), usb=()")
		// No HSTS: until the root certificate is installed, a visitor must be able to go past the browser's warning.
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// recognise puts the principal, if there is one, and the source into the request's context.
func (m *Manager) recognise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		req := request{source: sourceOf(r)}
		p, again, err := m.who(r)
		if err != nil {
			switch {
			case errors.Is(err, auth.ErrRefused):
				m.opts.Dropped.Count(listener, "bad_token")
				w.Header().Set("WWW-Authenticate", "Bearer")
				problem(w, http.StatusUnauthorized, "the bearer token is not valid")
			default:
				m.opts.Log.Error("request not recognised", slog.Any(observe.Err, err))
				problem(w, http.StatusServiceUnavailable, "the session cannot be checked now")
			}
			return
		}
		ctx := r.Context()
		if again != nil {
			req.again = again
			ctx = auth.WithPrincipal(ctx, p)
		}
		next.ServeHTTP(w, r.WithContext(withRequest(ctx, req)))
	})
}

// check asks again who a connection belongs to.
type check func(ctx context.Context) (auth.Principal, error)

// who recognises the request: its bearer token, else a cookie. Without any it returns no check.
//
// A room PC may hold both cookies. For the signalling of its own room the device counts, so that it joins as the venue;
// everywhere else the person who logged in does, and with ?as=user there too: a chair page is a person's.
func (m *Manager) who(r *http.Request) (auth.Principal, check, error) {
	ctx := r.Context()
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		p, err := m.users.Bearer(ctx, strings.TrimSpace(token))
		if err != nil {
			return auth.Principal{}, nil, err
		}
		return p, func(ctx context.Context) (auth.Principal, error) { return m.users.TokenPrincipal(ctx, p.ID) }, nil
	}
	user, userCheck, err := m.cookie(r, auth.KindUser, UserCookie)
	if err != nil {
		return auth.Principal{}, nil, err
	}
	device, deviceCheck, err := m.cookie(r, auth.KindDevice, DeviceCookie)
	if err != nil {
		return auth.Principal{}, nil, err
	}
	signalling := r.URL.Path == "/api/v1/rooms/"+device.Room+"/signal" && r.URL.Query().Get("as") != "user"
	if deviceCheck != nil && (userCheck == nil || signalling) {
		return device, deviceCheck, nil
	}
	return user, userCheck, nil
}

func (m *Manager) cookie(r *http.Request, kind auth.Kind, name string) (auth.Principal, check, error) {
	c, err := r.Cookie(name)
	if err != nil {
		return auth.Principal{}, nil, nil //nolint:nilerr // no such cookie: nobody
	}
	p, err := m.resolve(r.Context(), kind, c.Value)
	if errors.Is(err, ErrEnded) {
		return auth.Principal{}, nil, nil
	}
	if err != nil {
		return auth.Principal{}, nil, err
	}
	value := c.Value
	return p, func(ctx context.Context) (auth.Principal, error) { return m.resolve(ctx, kind, value) }, nil
}

// request is what a handler may ask about the request beyond its principal.
type request struct {
	source string
	again  check
}

type requestKey struct{}

func withRequest(ctx context.Context, r request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Source returns the address that the request came from, "local" for the unix socket, "" outside a request.
func Source(ctx context.Context) string {
	r, _ := ctx.Value(requestKey{}).(request)
	return r.source
}

// Still asks again who the request of ctx stands for: connections that live long do so now and then, which also counts
// as use of the session. Any error but the context's own means that the connection should end; for the unix socket there
// is none.
func Still(ctx context.Context) (auth.Principal, error) {
	r, _ := ctx.Value(requestKey{}).(request)
	if r.again != nil {
		return r.again(ctx)
	}
	if p, ok := auth.PrincipalFrom(ctx); ok && p.Kind == auth.KindLocal {
		return p, nil
	}
	return auth.Principal{}, ErrEnded
}

func sourceOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
