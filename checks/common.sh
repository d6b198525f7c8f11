# SPDX-License-Identifier: GPL-2.0
# Sourced by the checks. A check prints what it finds, with file and line, and one closing line that says its verdict.
# shellcheck shell=bash disable=SC2034 # names used where this is sourced
. "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../tools/series.sh"

check=${0##*/}
trap '(($? == 0)) || say "$check: FAILED"; rm -rf "${scratch[@]}"' EXIT
passed() { say "$check: ok, $*"; }

# Checks that need files or objects of other commits share one worktree and one object directory, so that each
# compiles little.
at_tree=$BUILD/check/tree
at_objects=$BUILD/check/obj

# at COMMIT: the shared worktree shows COMMIT.
at() {
	if [ ! -e "$at_tree" ]; then
		need_space 4
		discard "$at_tree.new"  # of an interrupted run
		remove_discarded
		git -C "$linux" worktree prune
		run check-tree.log "Checking out build/check/tree" \
			git -C "$linux" worktree add --detach "$at_tree.new" "$1"
		git -C "$linux" worktree move "$at_tree.new" "$at_tree"
	fi
	git -C "$at_tree" reset -q --hard "$1"
}

# configure_at: the shared object directory gets the guests' configuration and what the series touches besides, as the
# shared worktree understands it.
configure_at() {
	git -C "$at_tree" diff --quiet "$tip" || die "configure_at is called at another commit than the last" "mend $0"
	call "$ROOT/tools/config" check "$at_tree" "$BUILD/check/check"
}

# compile LOG WHAT MAKE-ARGUMENTS...: at any commit, with that configuration.
compile() {
	local log=$1 what=$2
	shift 2
	run "$log" "$what" compile_now "$@"
}
compile_now() {
	local configured
	# Most patches leave every Kconfig file alone, and what was configured for the one before is right for them.
	configured=$({ git -C "$at_tree" ls-files -s '*Kconfig*' && cat "$BUILD/check/check/.config"; } | sha256sum)
	if [ "$configured" != "$(cat "$at_objects/.configured" 2>/dev/null)" ]; then
		mkdir -p "$at_objects"
		cp "$BUILD/check/check/.config" "$at_objects/.config"
		"$ROOT/tools/kmake" check "$at_tree" "$at_objects" -s olddefconfig || return
		echo "$configured" >"$at_objects/.configured"
	fi
	"$ROOT/tools/kmake" check "$at_tree" "$at_objects" -k "$@"
}

# touched_between FROM TO PATTERN...: the files that match, one a line: name in FROM ("-" if new), name in TO.
touched_between() {
	git -C "$linux" diff --name-status -M --diff-filter=AMR "$1" "$2" -- "${@:3}" |
		awk -F '\t' '{ print ($1 == "A" ? "-" : $2) "\t" $NF }'
}

# touched PATTERN...: the same of the whole series.
touched() { touched_between base "$tip" "$@"; }

# objects: of names of C files, the objects that this kernel's build makes of them. A file that others include is none.
objects() {
	grep -vE '^(-|(tools|scripts|samples|Documentation)/.*|arch/([^x]|x[^8]).*|drivers/s390/.*)$' | while read -r file; do
		grep -qsF "#include \"${file##*/}\"" "$at_tree/${file%/*}"/*.c || echo "$file"
	done | sed -n 's/\.c$/.o/p'
}

# new_lines BASE PATCHED: lines of PATCHED that BASE has not, or has less often, whatever their line numbers.
new_lines() {
	awk 'function plain(text) { gsub(/:[0-9]+/, "", text); return text }
		FILENAME == ARGV[1] { base[plain($0)]++; next }
		base[plain($0)]-- <= 0' "$1" "$2"
}
