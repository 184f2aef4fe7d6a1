// Package naming decides how containers are named, and which remotes are one
// repository.
//
// A git repository has many remotes: over https, ssh or git, with or without
// credentials, ".git" or a slash at the end. [ParseRepository] folds them into
// one [Repository], the identity by which tasks share a container. It refuses
// text that git, ssh or a shell could read as something else than a repository
// on another machine. [ParseRemote] also returns the URL for git, and the
// credential apart from it.
//
// A [Key] is a repository together with a scope. It names the container
// ([Key.ContainerName]) and is written into its label ([Key.String]).
//
// The Validate functions hold the rules for text that callers bring: branches,
// task IDs and labels.
//
// # Identity
//
// An identity is a host and a path, such as github.com/anthropic/claude-code.
//
//   - Transport, credentials, query, fragment, one trailing slash, one ".git" and
//     the case of the host are no part of it. The user is no part of it, except
//     for the logins below.
//   - A port is part of it unless it is the transport's default.
//   - Percent-encoding is resolved where git resolves it: in URLs, not in the
//     scp-like form (Azure DevOps decodes there itself, so it is the exception).
//   - A path that depends on the ssh login keeps the login: see below.
//   - github.com, gitlab.com and bitbucket.org ignore the case of the path, and
//     are known by their www, ssh and altssh names too.
//   - The spellings of Azure DevOps meet in dev.azure.com/organisation/project/repository.
//     It keeps the case of names. A host has none, so Contoso.visualstudio.com
//     gives contoso, which differs from dev.azure.com/Contoso.
//   - The /scm/ that Bitbucket Server puts before project/repository over http
//     is dropped.
//   - It has at most [MaxIdentityLen] bytes.
//
// # Logins
//
// Over ssh, a path that begins with "~/" or, in the scp-like form, with no slash
// is relative to the home directory of the login. alice@host:repo and
// bob@host:repo are then two repositories. A hosting service has no such homes:
// its users share a login, and it reads host:path and host:/path alike. So:
//
//   - At a known forge, the login is no part of an identity.
//   - Elsewhere, login@host:path and ssh://login@host/~/path keep the login, and
//     are one identity: {Host: host, Path: path, Login: login}.
//   - The logins git, user and org-1234 are those of hosting services: with one
//     of them, host:path is host:/path, as everywhere else. Only "~/" keeps them.
//   - The same holds for host:29418/path, for every login: the number is meant as
//     Gerrit's port, although git takes it for a directory. Other numbers are
//     directories.
//   - Without a login, ssh uses the one of the agent, which is the same for all.
//   - An absolute path and "~name/" mean the same for every login, and keep none.
//     ~alice/repo and alice@host:repo are therefore two identities, although a
//     server may find one directory by both: they get two containers.
//
// A server with a login for each user and no homes, such as Gerrit, is best named
// by ssh://login@host/path, which all users share.
//
// # Errors
//
// Every error wraps [ErrInvalid]. It is one line that names the fault and the
// accepted form. Errors do not quote the remote: a misspelled remote may have a
// password anywhere.
//
// The package does no input or output, resolves no names and keeps no state.
// All of it is safe for concurrent use.
package naming
