package api

import (
	"context"
	"net/http"
	"time"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/site"
)

// UserAccount is a console user.
type UserAccount struct {
	Name              string    `json:"name"`
	Role              auth.Role `json:"role" enum:"admin,operator,chair,room,auditor,user"`
	Site              string    `json:"site" doc:"the only site it sees; empty = all"`
	InitialPassword   bool      `json:"initial_password" doc:"still has the password of DATA/admin-password"`
	CreatedAt         time.Time `json:"created_at"`
	PasswordChangedAt time.Time `json:"password_changed_at"`
}

type userList struct {
	Users []UserAccount `json:"users"`
}

type userAddIn struct {
	Body struct {
		Name     string    `json:"name" maxLength:"64"`
		Password string    `json:"password" maxLength:"1024"`
		Role     auth.Role `json:"role" enum:"admin,operator,chair,room,auditor,user"`
		Site     string    `json:"site,omitempty" maxLength:"64"`
	}
}

type userIn struct {
	Name string `path:"name" maxLength:"64"`
}

type passwordIn struct {
	Name string `path:"name" maxLength:"64"`
	Body struct {
		Password string `json:"password" maxLength:"1024"`
	}
}

func (a *API) registerUsers() {
	view(a, operation("list-users", http.MethodGet, "/users", "users", "Console users", admins), admins,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[userList], error) {
			users, err := a.opts.Users.ListUsers(ctx)
			if err != nil {
				return nil, err
			}
			out := userList{Users: make([]UserAccount, 0, len(users))}
			for _, u := range users {
				out.Users = append(out.Users, UserAccount{u.Name, u.Role, string(u.Site), u.Initial, u.CreatedAt, u.ChangedAt})
			}
			return &body[userList]{out}, nil
		})

	op := operation("add-user", http.MethodPost, "/users", "users", "Add a user", admins)
	op.DefaultStatus = http.StatusNoContent
	op.Errors = append(op.Errors, http.StatusConflict)
	change(a, op, admins,
		func(_ context.Context, _ auth.Principal, in *userAddIn) (audit.Event, error) {
			return audit.Event{Action: "user.add", Object: in.Body.Name, Detail: map[string]string{
				"role": string(in.Body.Role), "site": in.Body.Site,
			}}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *userAddIn) (*nothing, error) {
			return nil, a.opts.Users.AddUser(ctx, auth.NewUser{
				Name: in.Body.Name, Password: in.Body.Password, Role: in.Body.Role, Site: site.ID(in.Body.Site),
			})
		})

	op = operation("set-password", http.MethodPut, "/users/{name}/password", "users", "Set a user's password; its sessions end", admins)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, admins,
		func(_ context.Context, _ auth.Principal, in *passwordIn) (audit.Event, error) {
			return audit.Event{Action: "user.password", Object: in.Name}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *passwordIn) (*nothing, error) {
			return nil, a.opts.Users.SetPassword(ctx, in.Name, in.Body.Password)
		})

	op = operation("remove-user", http.MethodDelete, "/users/{name}", "users", "Remove a user; its sessions end", admins)
	op.DefaultStatus = http.StatusNoContent
	op.Errors = append(op.Errors, http.StatusConflict)
	change(a, op, admins,
		func(_ context.Context, _ auth.Principal, in *userIn) (audit.Event, error) {
			return audit.Event{Action: "user.remove", Object: in.Name}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *userIn) (*nothing, error) {
			return nil, a.opts.Users.RemoveUser(ctx, in.Name)
		})
}
