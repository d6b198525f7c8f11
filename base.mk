# SPDX-License-Identifier: GPL-2.0
# The base kernel: what tools/base fetches, verifies and imports. Read by tools/lib.sh as NAME := value.

# Debian's source package, its version and the suites that have it, or will when the first has another.
BASE_SUITES := trixie-backports forky sid
BASE_PACKAGE := linux-source-7.3
BASE_VERSION := 7.3.4-1~bpo13+1
# The package as it lies on the mirror, and git's name for the tree it holds (every file, none ignored).
BASE_SHA256 := 703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3
BASE_TREE := 5b1b93321fb4c4dd9c489ce15c4f3caaadd798d7

# Who commits in build/linux and build/tree. Whoever sends the series puts their own name there.
AUTHOR_NAME := hotmem series
AUTHOR_EMAIL := series@localhost
# The date of the import, and of every kernel build: the same input gives the same output.
BASE_DATE := 2026-01-01T00:00:00+0000
