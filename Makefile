# Thin verbs: each calls one tool. `make` alone prints them.
# Variables: BUILD=<directory> in place of build/, BASE_SRC=<tree or tarball> in place of the pinned kernel.
include base.mk

PYTHON := /usr/bin/python3
KERNELS := base patched

.PHONY: help setup base tree refresh build demo test test-debug kunit e2e shell bench mutants check clean distclean

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

demo: build ## plug and unplug memory in a base and a patched guest, side by side
	@$(PYTHON) -m vmtest demo

test: build ## everything: unit tests, checks, scenarios and KUnit in guests
	@$(PYTHON) -m pytest tests checks scenarios

test-debug: setup ## scenarios on a kernel with KASAN and lockdep, and on one with pageblocks of 4 MiB
	@tools/build debug
	@tools/build large
	@$(PYTHON) -m pytest scenarios -k 'not dump' --kernel debug
	@$(PYTHON) -m pytest scenarios/test_*_failures.py scenarios/test_*_random.py scenarios/test_zone_*.py --kernel large

kunit: build ## run the KUnit suites in a patched guest
	@$(PYTHON) -m vmtest kunit

e2e: build ## run the scenarios on base and patched; S=<word> those with it in their name
	@$(PYTHON) -m pytest scenarios -k '$(S)'

shell: build ## an interactive patched guest with a virtio-mem device
	@$(PYTHON) -m vmtest shell

bench: build ## measure base against patched, in half an hour; QUICK=1 less, in a few minutes
	@bench/run $(if $(QUICK),quick)

mutants: build ## plant bugs in the patched kernel and show which tests find them
	@$(PYTHON) -m checks.mutants

check: setup ## check the patches and the sources around them; C=<name> one of checks/
	@$(PYTHON) -m pytest checks -k '$(C)'

clean: ## remove build/ but for downloads and the compiler cache
	@tools/clean

distclean: ## remove all of build/
	@tools/clean all
