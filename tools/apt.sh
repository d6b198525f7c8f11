# Sourced after lib.sh by what fetches Debian's packages: apt with lists of its own, no file of the system is touched.
# shellcheck shell=bash

# private_apt NAME COMMAND...: apt with the lists of NAME.
private_apt() {
	local lists=$BUILD/$1 command=$2
	shift 2
	"$command" -q -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$lists/lists" -o Dir::Cache="$lists/cache" \
		-o APT::Sandbox::User= -o Acquire::Retries=2 "$@"
}

# write_sources NAME SUITE...: of the machine's own mirror of Debian, whichever that is.
write_sources() {
	local lists=$BUILD/$1 mirror suite
	# shellcheck disable=SC2016 # apt expands it
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' \
		"Release: $(debian_release)" | head -n 1)
	[ -n "$mirror" ] || lack "apt's sources name no Debian mirror" \
		"add one for this release's main component to apt's sources"
	mkdir -p "$lists"
	for suite in "${@:2}"; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$lists/sources.list"
}

# fetch_lists NAME SUITE...
fetch_lists() {
	write_sources "$@"
	mkdir -p "$BUILD/$1/lists/partial" "$BUILD/$1/cache/archives/partial"
	run "$1-lists.log" "Reading what the mirror has in ${*:2}" \
		private_apt "$1" apt-get update -o APT::Update::Error-Mode=any
}

debian_release() {
	# shellcheck source=/dev/null
	(. /etc/os-release && echo "${VERSION_CODENAME:-}")
}
