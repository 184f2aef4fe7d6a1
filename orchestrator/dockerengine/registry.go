package dockerengine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"

	"github.com/berth-go/berth/orchestrator"
)

// auth returns the credentials for an image. header is the form in which an engine takes them.
func (i *images) auth(ctx context.Context, image string) (auth orchestrator.RegistryAuth, header string, err error) {
	if i.opts.RegistryAuth == nil {
		return orchestrator.RegistryAuth{}, "", nil
	}
	auth, err = i.ask(ctx, image)
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

// ask calls Options.RegistryAuth. A pull runs in the background, where a panic would end the process.
func (i *images) ask(ctx context.Context, image string) (auth orchestrator.RegistryAuth, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("Options.RegistryAuth panicked: %v", p)
		}
	}()
	return i.opts.RegistryAuth(ctx, image)
}

// authError says that Options.RegistryAuth failed.
type authError struct{ error }

func (e authError) Error() string { return "asking for the registry's credentials: " + e.error.Error() }
func (e authError) Unwrap() error { return e.error }

// hide removes the secrets from an error, in case a registry or an engine has repeated them, as they are or as a header or
// a URL spells them.
func hide(a orchestrator.RegistryAuth, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range []string{a.Password, a.IdentityToken, a.RegistryToken} {
		if secret == "" {
			continue
		}
		for _, spelling := range []string{
			base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
			url.QueryEscape(secret), url.PathEscape(secret), secret,
		} {
			text = strings.ReplaceAll(text, spelling, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
