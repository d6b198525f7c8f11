# SPDX-License-Identifier: GPL-2.0
# Sourced by everything in tools/ and checks/: places, pins, messages, long steps, git.
# shellcheck shell=bash
set -euo pipefail
shopt -s inherit_errexit

# One language and one order of file names on every machine.
export LC_ALL=C.UTF-8
# Where Debian has mke2fs, and users have no PATH to.
export PATH=$PATH:/usr/sbin:/sbin
# What our make was given is not meant for the kernel's make (C= would start sparse there).
unset MAKEFLAGS MFLAGS MAKELEVEL
# Set when git calls us, as from a hook; our repositories are others.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}

while read -r name assign value; do
	[ "$assign" != := ] || declare -r "$name=$value"
done <"$ROOT/base.mk"

say() { printf '%s\n' "$*"; }

# die CAUSE NEXT-STEP
die() {
	printf 'error: %s\nnext: %s\n' "$1" "$2" >&2
	exit "${3:-1}"
}

# lack CAUSE NEXT-STEP: die of what this machine lacks, a package or the network: scenarios that need it are skipped then.
lack() { die "$1" "$2" 69; }

[[ $ROOT$BUILD != *[[:space:]:]* ]] || die "the kernel's make takes no path with a space or a colon: $ROOT, $BUILD" \
	"move to another directory, or for the second: make BUILD=<directory> ..."
mkdir -p "$BUILD" || die "$BUILD cannot be made" "name a place that you can write to: make BUILD=<directory> ..."
BUILD=$(cd "$BUILD" && pwd)
export BUILD

# git works on the kernel's repositories the same way whatever the user's own settings are.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=$AUTHOR_NAME GIT_AUTHOR_EMAIL=$AUTHOR_EMAIL
export GIT_COMMITTER_NAME=$AUTHOR_NAME GIT_COMMITTER_EMAIL=$AUTHOR_EMAIL

# our_git: git on this repository, with the user's own settings, which may have to say that the directory is safe.
our_git() { env -u GIT_CONFIG_GLOBAL -u GIT_CONFIG_NOSYSTEM git -C "$ROOT" "$@"; }

# Whatever runs for us in the background has a process group of its own, so that one signal ends all of it.
child=
stop_child() {
	[ -n "$child" ] || return 0
	kill -TERM -- "-$child" 2>/dev/null || true
	for _ in {1..50}; do
		kill -0 -- "-$child" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL -- "-$child" 2>/dev/null || true
}
trap 'stop_child; exit 130' INT
trap 'stop_child; exit 143' TERM HUP

# in_background COMMAND...: start it; $child is its process group.
in_background() {
	set -m
	"$@" </dev/null &
	child=$!
	set +m
}

# call TOOL...: run another of our tools, and hand it the signals that end us.
call() {
	local status=0
	in_background "$@"
	wait "$child" || status=$?
	child=
	return "$status"
}

# run LOG WHAT COMMAND...: a long step. Its output goes to build/log/LOG; a line tells every 20 s how far it is.
run() {
	local log=$BUILD/log/$1 what=$2 start=$SECONDS report=20 status=0
	shift 2
	mkdir -p "${log%/*}"
	say "$what ..."
	in_background "$@" >"$log" 2>&1
	while kill -0 "$child" 2>/dev/null; do
		sleep 0.2
		if ((SECONDS - start >= report)); then
			say "  $((SECONDS - start)) s: $(tail -c 400 "$log" | tr '\r' '\n' | tail -n 1 | cut -c 1-100)"
			((report += 20))
		fi
	done
	wait "$child" || status=$?
	child=
	if ((status)); then
		printf '%s: failed after %s s. The end of %s:\n' "$what" $((SECONDS - start)) "$log" >&2
		tail -n 25 "$log" | sed 's/^/  | /' >&2
		(($(free_space) >= 64)) || die "the file system of $BUILD is full" \
			"free some, or name a roomier place: make BUILD=<directory> ..."
	else
		say "  done in $((SECONDS - start)) s"
	fi
	return "$status"
}

# What is only needed while this shell lives: removed when it ends, however it ends.
scratch=()
trap 'rm -rf "${scratch[@]}"' EXIT

# lock NAME: one run at a time works on NAME, until this shell and what it started have ended.
lock() {
	exec 9>"$BUILD/.$1.lock"
	flock -n 9 || die "another run works on $1 in $BUILD" "wait until it has ended, or end it, then call again"
}

# discard PATH...: out of the way at once, so that no half-removed directory is taken for a whole one; then removed.
discard() {
	local path
	for path; do
		[ -e "$path" ] || continue
		mkdir -p "$BUILD/discarded"
		mv "$path" "$(mktemp -d "$BUILD/discarded/XXXXXX")"
	done
}
remove_discarded() {
	[ ! -e "$BUILD/discarded" ] || run discarded.log "Removing what is discarded" rm -rf "$BUILD/discarded"
}

# free_space: how many MiB $BUILD has room for.
free_space() { df -P -B 1M "$BUILD" | awk 'NR == 2 { print $4 }'; }

# need_space GIB
need_space() {
	local free
	free=$(($(free_space) / 1024))
	((free >= $1)) || die "only $free GiB free for $BUILD, $1 GiB needed" \
		"free some, or name a roomier place: make BUILD=<directory> ..."
}
