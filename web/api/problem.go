package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/observe"
)

// problem maps an error to what the client is told (RFC 9457). What is neither the client's nor the operator's fault is
// logged, and its words stay here.
func (a *API) problem(ctx context.Context, operation string, err error) error {
	if status, ok := errors.AsType[huma.StatusError](err); ok {
		return status
	}
	if locked, ok := errors.AsType[*auth.LockedError](err); ok {
		return retry(huma.Error429TooManyRequests(locked.Error()), locked.RetryAfter)
	}
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		return invalid.problem()
	}
	switch {
	case errors.Is(err, auth.ErrRefused):
		return huma.Error401Unauthorized(auth.ErrRefused.Error())
	case errors.Is(err, auth.ErrBusy):
		return retry(huma.Error503ServiceUnavailable(auth.ErrBusy.Error()), time.Second)
	case errors.Is(err, ErrNotFound), errors.Is(err, auth.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, auth.ErrExists), errors.Is(err, auth.ErrLastAdmin), errors.Is(err, ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, ErrInvalid), errors.Is(err, auth.ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, ErrUnavailable):
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, database.ErrFull):
		a.opts.Log.Error("request failed", slog.String("operation", operation), slog.Any(observe.Err, err))
		return huma.NewError(http.StatusInsufficientStorage, database.ErrFull.Error())
	case ctx.Err() != nil:
		return huma.Error503ServiceUnavailable("the request ended early")
	}
	a.opts.Log.Error("request failed", slog.String("operation", operation), slog.Any(observe.Err, err))
	return huma.Error500InternalServerError("the appliance could not do this; its log says why")
}

func retry(err error, after time.Duration) error {
	seconds := max(1, int((after+time.Second-1)/time.Second))
	return huma.ErrorWithHeaders(err, http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

func jsonProblem(status int, detail string) ([]byte, error) {
	return json.Marshal(&huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}
