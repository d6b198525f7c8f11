# SPDX-License-Identifier: GPL-2.0
# Sourced after lib.sh by what builds kernels.
# shellcheck shell=bash disable=SC2034 # used where this is sourced

# flavour NAME: the array `flavour` becomes what configs/flavours.toml says of that kernel and its architecture.
declare -A flavour
flavour() {
	local elements
	elements=$(cd "$ROOT" && /usr/bin/python3 -m vmtest.flavours "${1:-}") || exit 1
	eval "flavour=($elements)"
}
