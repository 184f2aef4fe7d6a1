package naming_test

import "testing"

func TestAzure(t *testing.T) {
	for remote, want := range map[string]string{
		"https://dev.azure.com/org/_git/repo":                                      "dev.azure.com/org/repo/repo",
		"https://dev.azure.com/org/_git/repo.git":                                  "dev.azure.com/org/repo/repo",
		"https://org@dev.azure.com/org/project/_git/repo/":                         "dev.azure.com/org/project/repo",
		"https://org.visualstudio.com/_git/repo":                                   "dev.azure.com/org/repo/repo",
		"https://org.visualstudio.com/project/team/_git/repo":                      "dev.azure.com/org/project/repo",
		"https://org.visualstudio.com/defaultcollection/project/_git/repo":         "dev.azure.com/org/project/repo",
		"git@ssh.dev.azure.com:v3/org/my%20project/repo":                           "dev.azure.com/org/my project/repo",
		"ssh://git@ssh.dev.azure.com/v3/org/my%20project/repo":                     "dev.azure.com/org/my project/repo",
		"ssh://git@ssh.dev.azure.com:22/v3/org/project/repo":                       "dev.azure.com/org/project/repo",
		"ssh://org@vs-ssh.visualstudio.com:22/DefaultCollection/project/_ssh/repo": "dev.azure.com/org/project/repo",
		"ssh://org@vs-ssh.visualstudio.com/_ssh/repo":                              "dev.azure.com/org/repo/repo",
		"ssh://org@org.visualstudio.com:22/project/_git/repo":                      "dev.azure.com/org/project/repo",

		// The case is kept, but for that of the host and of Azure's own words.
		"https://dev.azure.com/Contoso/p/_git/r":    "dev.azure.com/Contoso/p/r",
		"git@ssh.dev.azure.com:v3/Contoso/p/r":      "dev.azure.com/Contoso/p/r",
		"https://Contoso.visualstudio.com/p/_git/r": "dev.azure.com/contoso/p/r",
		"https://contoso.VisualStudio.com/p/_GIT/r": "dev.azure.com/contoso/p/r",
		"git@ssh.dev.azure.com:V3/org/project/repo": "dev.azure.com/org/project/repo",

		// Names with & and parentheses.
		"https://dev.azure.com/org/R%26D/_git/r":                   "dev.azure.com/org/R&D/r",
		"https://dev.azure.com/org/R&D/_git/R&D":                   "dev.azure.com/org/R&D/R&D",
		"https://org.visualstudio.com/Web%20(old)/_git/r%28old%29": "dev.azure.com/org/Web (old)/r(old)",
		"https://org.visualstudio.com/_git/R%26D":                  "dev.azure.com/org/R&D/R&D",
		"https://dev.azure.com/org/project/R%26D%20(EU)/_git/r":    "dev.azure.com/org/project/r",
		"git@ssh.dev.azure.com:v3/org/R%26D/r":                     "dev.azure.com/org/R&D/r",
		"ssh://git@ssh.dev.azure.com/v3/org/R&D/r":                 "dev.azure.com/org/R&D/r",

		// Choices of refs.
		"https://dev.azure.com/org/project/_git/_full/r":                           "dev.azure.com/org/project/r",
		"https://dev.azure.com/org/project/_git/_optimized/r.git":                  "dev.azure.com/org/project/r",
		"https://dev.azure.com/org/_git/_full/r":                                   "dev.azure.com/org/r/r",
		"https://dev.azure.com/org/project/team/_git/_Full/r":                      "dev.azure.com/org/project/r",
		"https://org.visualstudio.com/DefaultCollection/project/_git/_optimized/r": "dev.azure.com/org/project/r",
		"git@ssh.dev.azure.com:v3/org/project/_full/r":                             "dev.azure.com/org/project/r",
		"ssh://org@vs-ssh.visualstudio.com:22/project/_ssh/_optimized/r":           "dev.azure.com/org/project/r",
		"https://dev.azure.com/org/project/_git/_full":                             "dev.azure.com/org/project/_full",
		"https://dev.azure.com/org/project/_git/full/":                             "dev.azure.com/org/project/full",
	} {
		wantIdentity(t, remote, want)
	}
	for _, remote := range []string{
		"ssh://vs-ssh.visualstudio.com/project/_ssh/repo",
		"https://t0ken@vs-ssh.visualstudio.com/project/_ssh/repo",
		"git@ssh.dev.azure.com:v3/org/repo",
		"https://dev.azure.com/org/project/repo",
		"https://dev.azure.com/org/project/_git/repo/commit/1234",
		"https://dev.azure.com/org/project/_git",
		"https://dev.azure.com/org/project/../_git/repo", "https://dev.azure.com/org/project/%2e%2e/_git/repo", "https://dev.azure.com/org/project/./_git/repo",
		"https://dev.azure.com/org/project//_git/repo", "https://dev.azure.com/org/project/te;am/_git/repo", "https://dev.azure.com/org//_git/repo",
		"https://dev.azure.com/org/project/_git/other/r", "https://dev.azure.com/org/project/_git/_full/_full/r", "https://dev.azure.com/org/project/_full/r",
		"https://dev.azure.com/org/R%26D;id/_git/r", "https://dev.azure.com/org/p/_git/$(id)", "https://dev.azure.com/org/p/_git/r%26%26%60id%60", "https://dev.azure.com/_git/_full/r",
		"git@ssh.dev.azure.com:v3/org/_full/r", "https://host.xz/o/R%26D", "https://host.xz/o/r(1)", "https://github.com/o/r&d",
	} {
		wantRefused(t, remote)
	}
}
