# Sourced after lib.sh by what calls the kernel's own make.
# shellcheck shell=bash

# Nothing outside build/ is written but the compiler cache, which all clones of a user share: compilers see paths relative
# to build/. Half of what a clone compiles, another one has compiled.
export CCACHE_DIR=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-$BUILD}/.cache}/hotmem-ccache} CCACHE_BASEDIR=$BUILD

# kmake SOURCE OBJECTS TARGETS...: the same input gives the same bits.
kmake() {
	local source=$1 objects=$2
	shift 2
	make -C "$source" O="$objects" ARCH=x86 CC="ccache gcc" HOSTCC="ccache gcc" PYTHON3=/usr/bin/python3 \
		LOCALVERSION="-${objects##*/}" KBUILD_BUILD_TIMESTAMP="$BASE_DATE" KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=hotmem KBUILD_BUILD_HOST=localhost -j"$(nproc)" "$@"
}
