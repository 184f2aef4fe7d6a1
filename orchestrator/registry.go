package orchestrator

import "fmt"

// RegistryAuth is what a registry requires before it hands out an image: a name with a password, or one of the tokens.
// The zero value is no credential.
type RegistryAuth struct {
	Username      string
	Password      string
	IdentityToken string // the token of an earlier login, which the engine exchanges for access
	RegistryToken string // sent to the registry as it is
}

// String does not show the secrets.
func (a RegistryAuth) String() string { return fmt.Sprintf("credentials of %q", a.Username) }

// GoString does not show the secrets.
func (a RegistryAuth) GoString() string { return "orchestrator.RegistryAuth{…}" }
