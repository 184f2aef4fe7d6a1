package orchestrator

import "fmt"

// RegistryAuth is what a registry wants to see before it hands out an image: a name with a password, or one of the
// tokens. The zero value is nothing.
type RegistryAuth struct {
	Username      string
	Password      string
	IdentityToken string // what a login left behind; the engine exchanges it for access
	RegistryToken string // is sent to the registry as it is
}

// String does not tell the secrets.
func (a RegistryAuth) String() string { return fmt.Sprintf("credentials of %q", a.Username) }

// GoString does not tell the secrets.
func (a RegistryAuth) GoString() string { return "orchestrator.RegistryAuth{…}" }
