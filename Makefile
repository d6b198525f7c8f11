# SPDX-License-Identifier: GPL-2.0
# Thin verbs: each calls one tool. `make` alone prints them.
# Variables: BUILD=<directory> in place of build/, BASE_SRC=<tree or tarball> in place of the pinned kernel,
# CCACHE_DIR=<directory> for the compiler cache, in place of one in ~/.cache that all clones share, JOBS=<n> for as many
# compilers, or tests, at a time, in place of what the machine's cores and memory allow, DEBIAN_MIRROR=<URL> for packages, in
# place of the mirror of Debian that apt's sources name, ACCEL=tcg for emulated guests where there is KVM, ARCH=<architecture> for
# scenarios on its kernels.
include base.mk

PYTHON := /usr/bin/python3
# A test for each core: booting a guest, and much of what it does then, takes one CPU; and seldom 4 GiB.
BESIDE = -n $(shell JOBS='$(JOBS)' tools/jobs 4) --dist loadgroup

ON = $(if $(ARCH),--arch $(ARCH))

.PHONY: help setup base tree refresh build deb demo test test-all test-debug kunit e2e shell bench \
	bisect rebase submit mutants check clean distclean

help: ## print this list
	@echo "The series is for $(BASE_PACKAGE) $(BASE_VERSION). Start with: make demo"
	@sed -n 's/^\([a-z0-9-]*\):.* ## /  make \1 - /p' Makefile

setup: ## install the Debian packages that are missing
	@tools/setup

base: setup ## fetch, verify and import the base kernel (build/linux)
	@tools/base

tree: setup ## put the series on it as commits (build/tree); FORCE=1 throws unsaved work away
	@tools/tree

refresh: ## write patches/ from the commits of build/tree
	@tools/refresh

build: setup ## build the base and the patched guest kernel (build/obj)
	@tools/build base
	@tools/build patched

deb: setup ## build the patched kernel as a package for Debian guests (build/deb)
	@tools/deb

demo: build ## plug and unplug memory in a base and a patched guest, side by side
	@$(PYTHON) -m vmtest demo

test: setup ## unit tests, checks, KUnit in guests, and scenarios; WITHOUT="xen hyperv" leaves out theirs
	@$(PYTHON) -m pytest tests checks scenarios -m 'not long' $(ON) --build $(BESIDE)

test-all: setup tree ## the same with what takes long, hours in all; goes on where it stopped
	@$(PYTHON) -m pytest -p vmtest.resume tests checks scenarios $(ON) --build $(BESIDE)

test-debug: setup ## scenarios on a kernel with KASAN and lockdep, and on one with pageblocks of 4 MiB
	@$(PYTHON) -m pytest scenarios --kernel debug --build
	@$(PYTHON) -m pytest scenarios -k 'failures or random' --kernel large --build

kunit: setup ## run the KUnit suites in a guest; K=<kernel>: not the patched one
	@tools/build $(or $(K),patched)
	@$(PYTHON) -m vmtest kunit $(or $(K),patched)

e2e: setup ## run the scenarios that make test runs; S=<word> all with it in their name; K=<kernel> on that one only
	@$(PYTHON) -m pytest scenarios $(if $(S),-k '$(S)',-m 'not long') $(if $(K),--kernel $(K)) $(ON) --build

shell: setup ## an interactive guest with a virtio-mem device; K=<kernel>: not the patched one, see configs/flavours.toml
	@tools/build $(or $(K),patched)
	@$(PYTHON) -m vmtest shell $(or $(K),patched)

bench: setup ## measure base against patched, in 20 to 40 minutes; QUICK=1 less, in a few minutes
	@tools/build bench-base
	@tools/build bench-patched
	@$(if $(QUICK),,tools/xen)
	@$(PYTHON) -m bench $(if $(QUICK),quick)

bisect: setup ## build and boot the kernel after each patch, with KUnit; goes on where it stopped; TOPIC=<one> of them
	@tools/bisect $(TOPIC)

rebase: setup ## try the series on another kernel, BASE_SRC=<tree or tarball>, patch by patch
	@tools/rebase

submit: setup ## write the mails that would be sent, and say what they lack; TOPIC=<one> of them; FIXES=1: their fixes alone
	@tools/submit $(TOPIC)

mutants: build ## plant bugs in the patched kernel and show which tests find them; TOPIC=<one> of them
	@$(PYTHON) -m mutants $(TOPIC)

check: setup ## check the patches and the sources around them as make test does; C=<name> one of checks/
	@$(PYTHON) -m pytest checks $(if $(C),-k '$(C)',-m 'not long')

clean: ## remove build/ but for downloads
	@tools/clean

distclean: ## remove all of build/
	@tools/clean all
