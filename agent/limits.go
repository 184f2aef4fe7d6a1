package agent

// RepositoryLimits bound what a repository may be, so that a hostile one harms nothing. A fetch or a session that is over a limit
// fails before it writes more, and its *GitError names the limit and the number. 0 = the default, -1 = no limit.
type RepositoryLimits struct {
	// Refs is the largest number of branches and tags. Each session has a copy of their names. 0 = 1,000,000
	Refs int64
	// RefBytes is the largest size of the names and IDs of all branches and tags together. 0 = 256 MiB
	RefBytes int64
	// FetchBytes is the largest size of the objects that one fetch brings, as they are compressed. 0 = 64 GiB
	FetchBytes int64
	// Files is the largest number of files, directories and links in a checkout. 0 = 2,000,000
	Files int64
	// Bytes is the largest size of the files of a checkout together. 0 = 20 GiB
	Bytes int64
	// Depth is the largest number of directories above a file. 0 = 2,048
	Depth int64
}
