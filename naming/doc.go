// Package naming decides what things are called and which of them are the same.
//
// A git repository has many remotes: over https, ssh or git, with or without
// credentials, ".git" or a slash at the end. [ParseRepository] folds them into
// one [Repository], the identity by which tasks share a container, and refuses
// what git, ssh or a shell could read as something else than a repository on
// another machine. [ParseRemote] also says what to hand to git and which
// credential came with it, apart from each other.
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
//   - Transport, user, credentials, query, fragment, one trailing slash, one
//     ".git" and the case of the host are no part of it.
//   - A port is part of it unless it is the transport's default.
//   - Percent-encoding is resolved where git resolves it: in URLs, not in the
//     scp-like form (Azure DevOps decodes there itself, so it is the exception).
//   - host:path and host:/path are one identity, although the first is relative
//     to the home directory of the login: forges treat them alike.
//   - github.com, gitlab.com and bitbucket.org ignore the case of the path, and
//     are known by their www, ssh and altssh names too.
//   - The spellings of Azure DevOps meet in dev.azure.com/organisation/project/repository.
//     It keeps the case of names, except that the host Contoso.visualstudio.com
//     can give contoso only: that differs from dev.azure.com/Contoso.
//   - The /scm/ that Bitbucket Server puts before project/repository over http
//     is dropped.
//   - It has at most [MaxIdentityLen] bytes.
//
// # Errors
//
// Every error wraps [ErrInvalid] and is one line that says what is wrong and
// what is accepted. Errors quote nothing of the remote: a password may stand
// anywhere in a remote that is misspelled.
//
// The package does no input or output, resolves no names and keeps no state.
// All of it is safe for concurrent use.
package naming
