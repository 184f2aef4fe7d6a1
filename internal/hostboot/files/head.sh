#!/bin/bash
# Makes this machine a Docker host of a berth pool. It writes files, and berth-boot.service does the rest. It may run
# again.
set -euo pipefail
umask 022

finish() {
	[ "$1" = 0 ] && return
	echo "berth: the user data failed: powering off"
	systemctl poweroff
}
trap 'finish $?' EXIT

# put MODE PATH writes its input to a file, which never has another mode.
put() {
	mkdir -p "$(dirname "$2")"
	(umask 077 && cat >"$2.new")
	chmod "$1" "$2.new"
	mv -f "$2.new" "$2"
}

install -d -m 0700 /etc/berth /etc/berth/tls
