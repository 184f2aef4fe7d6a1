package naming_test

import (
	"errors"
	"fmt"

	"github.com/berth-go/berth/naming"
)

func ExampleParseRepository() {
	for _, remote := range []string{
		"https://github.com/Anthropic/claude-code.git",
		"git@github.com:anthropic/claude-code",
		"ssh://git@ssh.github.com:443/anthropic/claude-code/",
		"https://contoso.visualstudio.com/DefaultCollection/web/_git/shop",
	} {
		repo, err := naming.ParseRepository(remote)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(repo)
	}
	// Output:
	// github.com/anthropic/claude-code
	// github.com/anthropic/claude-code
	// github.com/anthropic/claude-code
	// dev.azure.com/contoso/web/shop
}

func ExampleParseRepository_refused() {
	for _, remote := range []string{
		"anthropic/claude-code",
		"https://user:secret@169.254.169.254/latest/meta-data",
	} {
		_, err := naming.ParseRepository(remote)
		fmt.Println(errors.Is(err, naming.ErrInvalid), err)
	}
	// Output:
	// true naming: invalid remote: it is a local path or shorthand; write a URL with its scheme, or user@host:path
	// true naming: invalid remote: its host is an address of the machine's surroundings (link-local, metadata, multicast or unspecified), and no git server
}

func ExampleParseRemote() {
	remote, err := naming.ParseRemote("https://x-access-token:s3cret@github.com/Anthropic/claude-code.git?ref=main")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(remote.Repository)
	fmt.Println(remote.URL)
	fmt.Println(remote.Username, len(remote.Password))
	fmt.Printf("%#v\n", remote) // no form of printing shows the password
	// Output:
	// github.com/anthropic/claude-code
	// https://github.com/Anthropic/claude-code.git
	// x-access-token 6
	// naming.Remote{Repository:"github.com/anthropic/claude-code", URL:"https://github.com/Anthropic/claude-code.git", HasCredential:true}
}

func ExampleRepository_Owner() {
	repo, err := naming.ParseRepository("git@gitlab.com:group/subgroup/project.git")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(repo.Owner())
	fmt.Println(repo.Name())
	// Output:
	// group/subgroup
	// project
}

func ExampleKey_ContainerName() {
	repo, err := naming.ParseRepository("https://github.com/anthropic/claude-code")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(naming.Key{Repository: repo}.ContainerName("berth"))
	fmt.Println(naming.Key{Repository: repo, Scope: "tenant 7"}.ContainerName("berth"))
	// Output:
	// repo-anthropic-claude-code-9dngmpzqsqme
	// repo-anthropic-claude-code-xr29fv5kddzn
}

func ExampleParseKey() {
	key, err := naming.ParseKey("github.com/anthropic/claude-code#tenant+7")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, for %q\n", key.Repository, key.Scope)
	fmt.Println(key)
	// Output:
	// github.com/anthropic/claude-code, for "tenant 7"
	// github.com/anthropic/claude-code#tenant+7
}

func ExampleValidateBranch() {
	fmt.Println(naming.ValidateBranch("feature/login"))
	fmt.Println(naming.ValidateBranch("--upload-pack=touch x"))
	// Output:
	// <nil>
	// naming: invalid branch: it begins with '-', which git would take for an option
}
