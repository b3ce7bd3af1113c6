# `make test` and `make demo` need Python 3.11 or newer with its venv module, and nothing else: they set up .venv
# themselves, from versions pinned with hashes. The other targets add the tools of the work to it.
.DEFAULT_GOAL := help
.PHONY: help setup test demo lint types docs wheels floor browser integration matrix constraints clean

export PORT ?= 8000
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml))
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --require-hashes -r
CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

test: $(VENV)/.test ## Run every test that needs no server, in under three minutes
	$(BIN)/python -m pytest -m "not slow and not integration and not browser" $(PYTEST_ARGS)

demo: $(VENV)/.test ## Make the insurance example's history, then serve it and its timeline on PORT (8000)
	$(BIN)/python examples/insurance/demo.py

setup: $(VENV)/.dev ## Set up .venv with every tool of the work

lint: $(VENV)/.dev ## Check the rules and the format (ruff)
	$(BIN)/nox -s lint

types: $(VENV)/.dev ## Check the types (mypy, strict)
	$(BIN)/nox -s types

docs: $(VENV)/.dev ## Build the documentation into docs/_build/html; a warning is an error
	$(BIN)/nox -s docs

wheels: $(VENV)/.dev ## Build every package and test the wheels in a clean environment
	$(BIN)/nox -s wheels

floor: $(VENV)/.dev ## Test with the lowest versions that the packages declare
	$(BIN)/nox -s floor

browser: $(VENV)/.dev ## Run the tests in a real browser
	$(BIN)/nox -s browser

integration: $(VENV)/.dev ## Run the tests that talk to real servers; starts and stops the servers
	$(BIN)/nox -s integration

matrix: $(VENV)/.dev ## Test on every Python, Django and database
	$(BIN)/nox -s tests

constraints: $(VENV)/.dev ## Pin the versions in constraints/ again; ARGS=--upgrade takes newer ones
	$(BIN)/nox -s constraints -- $(ARGS)

clean: ## Remove what was built and installed here
	rm -rf $(VENV) .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist docs/_build examples/insurance/var
	rm -rf $(addsuffix /dist,$(PACKAGES))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than what it was made from when there is something to install again.
$(VENV)/.made:
	@new='import sys, pip; sys.exit(sys.version_info < (3, 11))'; \
	if $(BIN)/python -c "$$new" 2>/dev/null; then touch $@; exit 0; fi; \
	for python in $(CANDIDATES); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$python -m venv $(VENV) && touch $@ && exit 0; \
	    echo "$$python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer was found. Install one, or name it: make test PYTHON=/path/to/python3.12" >&2; exit 1

$(VENV)/.test: $(VENV)/.made constraints/test-django-5.2.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	@echo "Installing the packages and what their tests need into $(VENV)"
	@$(INSTALL) constraints/test-django-5.2.txt
	@$(PIP) install --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@touch $@

$(VENV)/.dev: $(VENV)/.test constraints/dev.txt
	@echo "Installing the tools of the work into $(VENV)"
	@$(INSTALL) constraints/dev.txt
	@touch $@
