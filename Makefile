# SPDX-FileCopyrightText: CouchPy contributors (@couchpy)
# SPDX-License-Identifier: GPL-3.0-or-later

# The commands of this project; `make` alone lists them. What each does is in noxfile.py and tests/tools.

PYTHON ?= python3
TOOLS := .cache/tools
READY := $(TOOLS)/ready
NOX := $(TOOLS)/bin/nox

.DEFAULT_GOAL := help
.PHONY: help demo check test soak bench lint sanity unit integration molecule docs build tools clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## declare three servers, change things behind the declaration's back, find and mend them, write a report
	@$(NOX) --session demo

check: $(READY) ## run what takes less than a minute: unit tests, style, types; before each commit
	@$(TOOLS)/bin/python tests/tools/check.py --quick

test: $(READY) ## run every check and print a summary
	@$(TOOLS)/bin/python tests/tools/check.py

soak: $(READY) ## let every module meet every fault at each of its requests (test does a sample)
	@$(NOX) --session soak

bench: $(READY) ## measure how long the modules take
	@$(NOX) --session bench

lint: $(READY) ## check style, types, documentation, licences and changelog
	@$(NOX) --session lint ruff mypy ansible-lint docs-check license-check extra-checks changelog

sanity: $(READY) ## run ansible-test sanity on each ansible-core
	@$(NOX) --session sanity

unit: $(READY) ## run the unit tests on each ansible-core, and the tests of the client and the embedded server
	@$(NOX) --session unit client server

integration: $(READY) ## run the integration targets on the embedded server and on COUCHDB_URL
	@$(NOX) --session integration

molecule: $(READY) ## run the role's molecule scenarios
	@$(NOX) --session molecule

docs: $(READY) ## build the documentation site, .cache/docs/html, and check its links
	@$(NOX) --session docs

build: $(READY) ## build the artifact for Ansible Galaxy and check it
	@$(NOX) --session build

tools: $(READY) ## set up nox, which sets up all else

clean: ## remove what was made
	rm -rf .cache couchpy-couchdb-*.tar.gz

$(READY): tests/tools/requirements.txt tests/tools/constraints.txt
	@echo "Making the environment of the test tools in $(TOOLS) ..."
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement tests/tools/requirements.txt --constraint tests/tools/constraints.txt
	@touch $@
