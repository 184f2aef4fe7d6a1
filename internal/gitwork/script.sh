# What berth does with the repository of a session, as a command of the session. $1 is the operation.
set -u
export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_PAGER=cat GIT_EDITOR=true
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_EXTERNAL_DIFF GIT_DIFF_OPTS
op=$1
shift
left=

g() { git -c core.fsmonitor=false -c core.safecrlf=false -c gc.auto=0 -c maintenance.auto=false -c advice.addEmbeddedRepo=false "$@"; }

fail() {
	echo "$*" >&2
	exit 1
}

# known sets $start to the commit that the session began with, if it is there.
known() {
	start=
	[ -z "$1" ] || start=$(g rev-parse -q --verify "$1^{commit}" 2>/dev/null) || start=
}

# record makes a tree of all that is not ignored: $tree. It writes to a directory of its own, and leaves the index and the objects of the
# session alone. $head is the commit of HEAD, and $base the newest one of its ancestors that the remote has; "" = none.
record() {
	tmp=$(mktemp -d) || exit 1
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 1' HUP INT TERM
	index=$(g rev-parse --git-path index) && objects=$(cd "$(g rev-parse --git-path objects)" && pwd) || exit 1
	if [ -f "$index" ]; then cp -p "$index" "$tmp/index" || exit 1; fi
	mkdir "$tmp/objects" || exit 1
	export GIT_INDEX_FILE="$tmp/index" GIT_OBJECT_DIRECTORY="$tmp/objects" GIT_ALTERNATE_OBJECT_DIRECTORIES="$objects"
	g add -A --ignore-errors -- . 2>"$tmp/errors" || left=$(grep -v '^warning: ' "$tmp/errors" | head -n 20)
	tree=$(g write-tree) || exit 1
	head=$(g rev-parse -q --verify 'HEAD^0') || head=
	base=
	if [ -n "$head" ]; then
		first=$(g rev-list --first-parent "$head" --not --exclude='*/berth/save/*' --remotes $start | tail -n 1)
		if [ -z "$first" ]; then
			base=$head
		else
			base=$(g rev-parse -q --verify "$first^1") || base=
		fi
	fi
	none=$(g hash-object -t tree /dev/null)
	nested=$(g diff-index --cached --no-renames --raw --diff-filter=A "${head:-$none}" | grep '^:000000 160000 ' | cut -f 2- | head -n 20)
	if [ -n "$nested" ]; then
		left="$left
repositories of their own: $nested"
	fi
}

# finish ends the script, and says what is left out.
finish() {
	if [ -n "$left" ]; then
		echo "$left" >&2
		exit 96
	fi
	exit 0
}

case $op in
changes)
	known "$1"
	GIT_OPTIONAL_LOCKS=0 g -c core.untrackedCache=false status --porcelain=v2 -z --branch --untracked-files=all --renames || exit
	printf 'commits\0'
	g log -z -n "$2" --no-show-signature --no-color --encoding=UTF-8 --format='%H %at %an%n%s' HEAD --branches --not --exclude='*/berth/save/*' --remotes $start 2>/dev/null
	printf '\0stashes\0'
	g stash list -z -n "$3" --format='%gd %gs' 2>/dev/null
	exit 0
	;;
patch)
	known "$1"
	record
	if [ -n "$base" ]; then
		[ "$(g rev-parse "$base^{tree}")" = "$tree" ] && finish
	elif [ "$tree" = "$none" ]; then
		finish
	fi
	{
		printf '%s\n\n' "$2"
		printf 'Berth-Base: %s\nBerth-Branch: %s\n' "$base" "$(g symbolic-ref -q --short HEAD)"
		if [ "$base" != "$head" ]; then
			printf '\nCommits that it holds:\n\n'
			g log --no-show-signature --no-color --encoding=UTF-8 -n 100 --format='* %h %s' "$head" ${base:+"^$base"}
		fi
	} >"$tmp/message"
	commit=$(g -c i18n.commitEncoding=UTF-8 commit-tree ${base:+-p "$base"} -F "$tmp/message" "$tree") || exit
	g diff-tree --root -p --binary --full-index -M --no-ext-diff --no-textconv --src-prefix=a/ --dst-prefix=b/ --no-color \
		--encoding=UTF-8 --pretty=email "$commit" || exit
	finish
	;;
commit)
	allow=$1 verify=$2
	shift 2
	if [ $# -gt 0 ]; then
		g --literal-pathspecs add -A -- "$@" >&2 || exit
	else
		g add -A -- . >&2 || exit
	fi
	if [ "$allow" = no ] && ! g rev-parse -q --verify MERGE_HEAD >/dev/null && g diff --cached --quiet --no-ext-diff; then
		exit 95
	fi
	set --
	[ "$allow" = yes ] && set -- "$@" --allow-empty
	[ "$verify" = no ] && set -- "$@" --no-verify
	g commit -q -F - "$@" >&2 || exit
	g rev-parse HEAD
	;;
push)
	remote=$1 branch=$2 force=$3 verify=$4
	current=$(g symbolic-ref -q --short HEAD) || current=
	[ -n "$branch" ] || branch=$current
	[ -n "$branch" ] || fail "HEAD is detached: name the branch to push to"
	set --
	[ "$force" = yes ] && set -- "$@" --force-with-lease
	[ "$verify" = no ] && set -- "$@" --no-verify
	[ "$branch" = "$current" ] && set -- "$@" --set-upstream
	commit=$(g rev-parse HEAD) || exit
	g push -q --porcelain "$@" -- "$remote" "HEAD:refs/heads/$branch" >&2 || exit
	printf '%s %s\n' "$commit" "$branch"
	;;
save)
	known "$1"
	record
	unpushed=$(g rev-list -n 1 ${head:+"$head"} --not --exclude='*/berth/save/*' --remotes $start)
	if [ -n "$head" ]; then same=$(g rev-parse "$head^{tree}"); else same=$none; fi
	others=$(g for-each-ref --format='%(refname)' refs/heads refs/stash | while read -r ref; do
		[ -n "$(g rev-list -n 1 "$ref" --not --exclude='*/berth/save/*' --remotes $start ${head:+"$head"})" ] && echo "$ref"
	done | head -n 20)
	[ -n "$others" ] && left="$left
not reached from HEAD: $others"
	if [ "$same" = "$tree" ] && [ -z "$unpushed" ]; then
		[ -n "$left" ] && finish
		exit 95
	fi
	printf '%s\n\nBerth-Saved: yes\nBerth-Branch: %s\n' "$3" "$(g symbolic-ref -q --short HEAD)" >"$tmp/message"
	commit=$(g -c i18n.commitEncoding=UTF-8 commit-tree ${head:+-p "$head"} -F "$tmp/message" "$tree") || exit
	g push -q --no-verify --porcelain --force -- origin "$commit:refs/heads/$2" >&2 || exit
	echo "$commit"
	finish
	;;
unsave) # HEAD is what save has pushed
	message=$(g log -1 --no-show-signature --no-color --encoding=UTF-8 --format=%B HEAD) || exit
	echo "$message" | grep -q '^Berth-Saved: yes$' || { g symbolic-ref -q --short HEAD; exit 0; } # it was done before
	branch=$(echo "$message" | sed -n 's/^Berth-Branch: //p' | tail -n 1)
	saved=$(g symbolic-ref -q --short HEAD)
	if [ -n "$branch" ] && [ "$branch" != "$saved" ]; then
		g branch -q -M "$branch" || exit
	elif [ -z "$branch" ]; then
		g checkout -q --detach || exit
		[ -n "$saved" ] && g branch -q -D "$saved" >&2
	fi
	if g rev-parse -q --verify 'HEAD^1' >/dev/null; then
		g reset -q 'HEAD^1' >&2 || exit
	fi
	if [ -n "$branch" ]; then
		if g rev-parse -q --verify "refs/remotes/origin/$branch" >/dev/null; then
			g branch -q --set-upstream-to="origin/$branch" >&2
		else
			g branch -q --unset-upstream 2>/dev/null
		fi
	fi
	echo "$branch"
	;;
apply) # HEAD is the base of the patch
	branch=$1
	g apply --whitespace=nowarn - >&2 || exit
	if [ -n "$branch" ]; then
		g checkout -q -B "$branch" >&2 || exit
		if g rev-parse -q --verify "refs/remotes/origin/$branch" >/dev/null; then
			g branch -q --set-upstream-to="origin/$branch" >&2
		fi
	fi
	echo "$branch"
	;;
branch)
	if g rev-parse -q --verify "refs/remotes/origin/$1" >/dev/null; then
		fail "fatal: a branch named '$1' exists at the remote"
	fi
	[ "$(g symbolic-ref -q --short HEAD)" = "$1" ] && exit 0
	g checkout -q --no-track -b "$1" >&2
	;;
*)
	fail "no such operation: $op"
	;;
esac
