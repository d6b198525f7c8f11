# SPDX-License-Identifier: GPL-2.0
# Sourced after lib.sh by what fetches Debian's packages. What comes depends on the suites that are named, not on this machine's
# release: apt has lists of its own, knows of no installed package, and takes only what Debian has signed. No file of
# the system is touched.
# shellcheck shell=bash

apt_architecture=amd64  # whose packages come; who sources this may say another

# private_apt NAME COMMAND...: apt with the lists of NAME.
private_apt() {
	local lists=$BUILD/$1 command=$2
	shift 2
	"$command" -q -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::Etc::Preferences=- -o Dir::Etc::PreferencesParts=/dev/null -o APT::Default-Release= \
		-o Dir::State::Lists="$lists/lists" -o Dir::State::status="$lists/status" -o Dir::Cache="$lists/cache" \
		-o APT::Architecture="$apt_architecture" -o APT::Architectures="$apt_architecture" -o APT::Sandbox::User= -o Acquire::Retries=2 "$@"
}

# named LABEL SUFFIX: what this machine's apt configuration names: a source with that label of Debian's, or where apt has read
# none yet, the first that has a suite of such a name.
named() {
	# shellcheck disable=SC2016 # apt expands it
	{
		apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 'Origin: Debian' "Label: $1"
		apt-get update --print-uris |
			sed -nE "s,^'(.*)/dists/(bookworm|trixie|forky|sid|oldstable|stable|testing)$2/InRelease'.*,\1,p"
	} | sed -n '1p'
}

# write_sources NAME SUITE...: suites of security updates are left out where the configuration names no mirror of them. What
# is not released yet may come from a mirror that is behind: it is signed all the same.
write_sources() {
	local lists=$BUILD/$1 mirror suite valid
	mirror=${DEBIAN_MIRROR:-$(named Debian "")}
	[ -n "$mirror" ] || lack "apt's sources name no mirror of Debian, which this needs packages of" \
		"name one: make DEBIAN_MIRROR=<URL> ..."
	mkdir -p "$lists"
	: >"$lists/status"
	for suite in "${@:2}"; do
		[[ $suite != *-security ]] || mirror=$(named Debian-Security -security)
		valid=
		[ "$suite" != forky ] || valid=" check-valid-until=no"
		[ -z "$mirror" ] ||
			echo "deb [arch=$apt_architecture$valid signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$lists/sources.list"
}

# fetch_lists NAME SUITE...
fetch_lists() {
	write_sources "$@"
	mkdir -p "$BUILD/$1/lists/partial" "$BUILD/$1/cache/archives/partial"
	run "$1-lists.log" "Reading what the mirror has in ${*:2}" \
		private_apt "$1" apt-get update -o APT::Update::Error-Mode=any
}

# require_version DEB LEAST: security updates replace what was tried; what is older was not tried.
require_version() {
	local package version
	# shellcheck disable=SC2016 # dpkg-deb expands it
	read -r package version < <(dpkg-deb -W --showformat '${Package} ${Version}\n' "$1")
	dpkg --compare-versions "$version" ge "$2" || {
		echo "$package is $version, $2 or newer is needed"
		return 1
	}
}

# fetched PACKAGE: its newest file in build/dl; nothing if there is none.
fetched() { find "$BUILD/dl" -maxdepth 1 -name "$1_*.deb" 2>/dev/null | sort -V | tail -n 1; }

# download_one PACKAGE LEAST INTO
download_one() {
	cd "$3" &&
		private_apt "apt-$1" apt-get download "$1" &&
		require_version ./*.deb "$2" &&
		mv ./*.deb "$BUILD/dl/"
}

# fetch_package PACKAGE LEAST TOOL SUITE...: one package to build/dl, where it stays. TOOL is what to call again if that fails.
fetch_package() {
	local package=$1 least=$2 tool=$3 into
	shift 3
	mkdir -p "$BUILD/dl"
	into=$(fetched "$package")
	[ -z "$into" ] || ! require_version "$into" "$least" || return 0
	into=$(mktemp -d "$BUILD/dl/new.XXXXXX")
	scratch+=("$into")
	{ fetch_lists "apt-$package" "$@" && run "$package-fetch.log" "Fetching $package of $1" download_one "$package" "$least" "$into"; } ||
		lack "$package could not be fetched" \
			"see the lines above; check the network and the proxy, then $tool again; all else works without it"
}

# download_all NAME OPTION|PACKAGE...: these and all that they depend on, to the current directory.
download_all() {
	local lists=$1
	shift
	rm -f "$BUILD/$lists"/cache/archives/*.deb
	private_apt "$lists" apt-get install -y --download-only --no-install-recommends "$@" &&
		mv "$BUILD/$lists"/cache/archives/*.deb .
}

# for provide
download_into() { mkdir -p "$1" && cd "$1" && download; }
unpack_into() {
	local deb
	mkdir -p "$1"
	for deb in "$2"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$1" --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' ||
			return
	done
	cp "$2/pins" "$1"
}

# provide NAME PINS SUITE...: build/NAME, with packages unpacked in it that are not installed. The caller's `download` fetches them
# to its current directory, with the lists apt-NAME; they stay in build/dl until PINS, which says what they are, changes.
provide() {
	local name=${1//\//-} into=$BUILD/$1 pins=$2 kept=$BUILD/dl/${1//\//-}
	shift 2
	lock "$name"
	if [ "$(cat "$kept/pins" 2>/dev/null)" != "$pins" ]; then
		need_space 1
		fetch_lists "apt-$name" "$@" ||
			lack "the package lists of $* could not be fetched" "check the network and the proxy"
		rm -rf "$kept.new"
		run "$name-fetch.log" "Fetching $pins" download_into "$kept.new" ||
			lack "they could not be fetched" "see the lines above; check the network and the proxy"
		echo "$pins" >"$kept.new/pins"
		rm -rf "$kept"
		mv "$kept.new" "$kept"
	fi
	if ! cmp -s "$kept/pins" "$into/pins"; then
		rm -rf "$into.new"
		run "$name-unpack.log" "Unpacking them" unpack_into "$into.new" "$kept" ||
			die "they could not be unpacked" "see the lines above"
		rm -rf "$into"
		mv "$into.new" "$into"
	fi
}
