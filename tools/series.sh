# SPDX-License-Identifier: GPL-2.0
# Sourced after lib.sh by what handles the series: from patches/ to commits, and where unsaved work may be.
# shellcheck shell=bash disable=SC2034 # names used where this is sourced
#
# In git, a topic is an empty commit whose subject is "NN-name: title of the cover letter" and whose body is the
# cover letter, followed by the topic's patches. So the borders of topics survive git rebase -i, and a new topic is
# started with: git commit --allow-empty -m 'NN-name: title'.

linux=$BUILD/linux  # the base kernel: tag `base`
tree=$BUILD/tree    # where people work: branch `series`
is_topic='^[0-9][0-9]-[a-z0-9-]+: '

# The last commit that came from patches/, or went there: what build/tree has beyond it is unsaved.
saved_ref=refs/hotmem/saved

# patches_ref DIR: the name that the series in DIR has as commits.
patches_ref() {
	local id
	id=$(cd "$1" && find . -path './[0-9][0-9]-*/*.patch' -type f -print0 | sort -z | xargs -0r sha256sum | sha256sum)
	echo "refs/hotmem/patches/${id%% *}"
}

# unsaved_work: what build/tree has that patches/ does not, in words; nothing if there is nothing.
unsaved_work() {
	if ! git -C "$tree" rev-parse -q --verify HEAD >/dev/null 2>&1; then
		echo "work of a repository that is gone"
	elif operation_in_progress >/dev/null; then
		echo "an unfinished git $(operation_in_progress)"
	elif [ "$(git -C "$tree" symbolic-ref -q HEAD)" != refs/heads/series ]; then
		echo "something else than the branch series checked out"
	elif [ -n "$(git -C "$tree" status --porcelain)" ]; then
		echo "edits that are not committed"
	elif [ "$(git -C "$tree" rev-parse HEAD)" != "$(git -C "$tree" rev-parse -q --verify "$saved_ref")" ]; then
		echo "commits that are not in patches/"
	fi
}

operation_in_progress() {
	local path
	for path in rebase-merge rebase-apply CHERRY_PICK_HEAD REVERT_HEAD MERGE_HEAD; do
		if [ -e "$(git -C "$tree" rev-parse --path-format=absolute --git-path "$path")" ]; then
			echo "$path" | tr 'A-Z_' 'a-z-' | sed 's/-\(merge\|apply\|head\)$//'
			return
		fi
	done
	return 1
}

# apply_series DIR REF: every patch below DIR in order on top of base, context exact, as the commits that REF names.
# The same patches give the same commits.
apply_series() {
	local dir=$1 ref=$2 at topic patch
	# This worktree has an index and no files: git fetches those that a patch touches, so applying takes moments.
	at=$(mktemp -d "$BUILD/apply.XXXXXX")
	scratch+=("$at")
	git -C "$linux" worktree prune
	git -C "$linux" worktree add -qf --detach --no-checkout "$at" base
	git -C "$at" read-tree base
	for topic in "$dir"/[0-9][0-9]-*/; do
		[ -e "$topic" ] || continue  # no topic at all
		apply_cover "$at" "$topic"
		for patch in "$topic"[0-9][0-9][0-9][0-9]-*.patch; do
			[[ ${patch##*/} != 0000-* && -e $patch ]] || continue
			git -C "$at" am -q --no-3way --keep-non-patch --committer-date-is-author-date "$patch" \
				>/dev/null 2>&1 || explain_failure "$at" "$patch"
		done
	done
	git -C "$linux" update-ref "$ref" "$(git -C "$at" rev-parse HEAD)"
	git -C "$linux" worktree remove --force "$at"
}

# apply_cover WORKTREE TOPIC: the empty commit that holds the topic's cover letter.
apply_cover() {
	local at=$1 topic=${2%/} letter author email subject date
	letter=$topic/0000-cover-letter.patch
	[ -e "$letter" ] || die "the topic ${topic##*/} has no cover letter: $letter is missing" "git checkout -- patches"
	{ read -r author && read -r email && read -r subject && read -r date; } \
		< <(git mailinfo -b "$at/.letter" /dev/null <"$letter") ||
		die "$letter has not the form of a mail: From, Date, Subject, then the text" "git checkout -- patches"
	printf '%s: %s\n\n%s' "${topic##*/}" "${subject#Subject: }" "$(<"$at/.letter")" | git stripspace |
		GIT_AUTHOR_NAME=${author#Author: } GIT_AUTHOR_EMAIL=${email#Email: } \
		GIT_AUTHOR_DATE=${date#Date: } GIT_COMMITTER_DATE=${date#Date: } \
		git -C "$at" commit-tree 'HEAD^{tree}' -p HEAD >"$at/.commit"
	git -C "$at" update-ref HEAD "$(<"$at/.commit")"
	rm "$at/.letter" "$at/.commit"
}

# explain_failure WORKTREE PATCH: say which file and hunk do not fit, and end.
explain_failure() {
	local at=$1 patch=$2 file line
	printf 'error: %s does not apply:\n' "${patch#"$ROOT/"}" >&2
	git -C "$at" apply --cached --check "$patch" 2>&1 | while IFS= read -r message; do
		[[ $message =~ ^error:\ patch\ failed:\ (.*):([0-9]+)$ ]] || {
			[[ $message != error:* || $message == *"patch does not apply" ]] || echo "  ${message#error: }"
			continue
		}
		file=${BASH_REMATCH[1]} line=${BASH_REMATCH[2]}
		awk -v file="$file" -v line="$line" '
			/^diff --git / { current = ""; hunk = 0 }
			/^--- a\//     { current = substr($0, 7) }
			/^@@ /         { hunk++ }
			current == file && $0 ~ "^@@ -" line "[, ]" { print "  " file ", hunk " hunk ": " $0; exit }' "$patch"
	done >&2
	die "the series stops there" \
		"on the pinned base a patch was edited by hand: git checkout -- patches; on another base the series has to be ported: see docs/working.md"
}

# series_tip: the commit that patches/ amount to, into $tip.
series_tip() {
	local ref
	call "$ROOT/tools/base"
	mkdir -p "$ROOT/patches"  # git does not keep it while there is no topic
	ref=$(patches_ref "$ROOT/patches")
	git -C "$linux" rev-parse -q --verify "$ref" >/dev/null || apply_series "$ROOT/patches" "$ref"
	tip=$(git -C "$linux" rev-parse "$ref")
}
