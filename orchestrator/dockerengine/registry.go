package dockerengine

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"

	"github.com/berth-go/berth/orchestrator"
)

// auth asks for the credentials for an image; header is the form in which an engine takes them.
func (h *host) auth(ctx context.Context, image string) (auth orchestrator.RegistryAuth, header string, err error) {
	if h.opts.RegistryAuth == nil {
		return orchestrator.RegistryAuth{}, "", nil
	}
	auth, err = h.opts.RegistryAuth(ctx, image)
	if err != nil {
		return orchestrator.RegistryAuth{}, "", authError{err}
	}
	if auth == (orchestrator.RegistryAuth{}) {
		return auth, "", nil
	}
	header, err = authconfig.Encode(registry.AuthConfig{
		Username:      auth.Username,
		Password:      auth.Password,
		IdentityToken: auth.IdentityToken,
		RegistryToken: auth.RegistryToken,
	})
	return auth, header, err
}

// authError says that Options.RegistryAuth failed.
type authError struct{ error }

func (e authError) Error() string { return "asking for the registry's credentials: " + e.error.Error() }
func (e authError) Unwrap() error { return e.error }

// hide returns an error that does not tell the secrets, in case a registry or an engine has repeated them.
func hide(a orchestrator.RegistryAuth, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range []string{a.Password, a.IdentityToken, a.RegistryToken} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
