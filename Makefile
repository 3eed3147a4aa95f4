# Two commands do everything on a fresh Debian 12 or 13: `make demo` and `make test`. `make help` lists the others.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
CACHE := $(or $(ORCHESTRATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/orchestrator-lab)
# The lab needs root. It keeps the environment, and says where the images are: root's own cache is another one.
AS_ROOT := $(if $(filter 0,$(shell id -u)),env,sudo -E env) ORCHESTRATOR_CACHE=$(CACHE) PYTHONPYCACHEPREFIX=$(CACHE)/pycache
IN_LAB := $(PYTHON) -m tests.lab run --
LAB := $(AS_ROOT) $(IN_LAB)
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider
# Several processes (pytest-xdist) take the tests file by file, and those files in one go that share servers (tests/spread.py). Those
# of `make test` have a lab each, so that none meets another's guests; three keep two processors busy, as they wait much.
# tests/conftest.py puts first what waits for real guests; the pure tests fill the end.
SPREAD := --dist loadfile --no-loadscope-reorder
IN_LABS := --tx '3*popen//python=$(IN_LAB) $(PYTHON)' $(SPREAD)
# What decides over a change tries the same examples each time; `make check` tries others at every run.
SAME := --hypothesis-seed=0
CODE := orchestrator agents tests
SOURCES := $(shell find orchestrator agents playbooks configs tests/lab -type f -not -path '*/__pycache__/*' 2>/dev/null) requirements-dev.lock
# What has tests that only the whole matrix has, or more of them in it.
WHOLE := $(shell grep -rlE --include='test_*.py' 'mark\.rare|whole_matrix|"--matrix"' tests)
FAULT := $(patsubst tests/%.py,build/%.done,$(sort $(wildcard tests/fault/test_*.py) $(WHOLE)))
BENCH := $(patsubst tests/%.py,build/%.done,$(wildcard tests/benchmarks/test_*.py))

.PHONY: help setup venv images whole-images demo test check lint unit fault bench deb lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install the packages that are missing and make .venv
	@tests/lab/setup.sh

venv:
	@tests/lab/setup.sh venv

images: setup ## build the guest images that are not built yet
	@$(AS_ROOT) $(PYTHON) -m tests.lab images >/dev/null

demo: images ## a service from the paid order to the wipe certificate, and two that do not pay, on real parts
	@$(LAB) $(PYTHON) -m tests.e2e.demo

test: images lint ## everything, on real parts (about 45 minutes)
	@$(AS_ROOT) tests/scratch.sh $(PYTEST) $(IN_LABS) $(SAME) --durations=15 --durations-min=30 tests

check: venv ## lint, types, import contracts, unit and contract tests on fakes (no root, about a minute)
	@$(MAKE) -j2 --output-sync=target lint unit

unit: venv
	@tests/scratch.sh $(PYTEST) -n 2 $(SPREAD) -m 'not lab and not guest' --durations=3 --durations-min=2 tests/unit tests/contract

lint: venv
	@.venv/bin/ruff check --quiet $(CODE)
	@.venv/bin/ruff format --quiet --check $(CODE) || { echo "run: .venv/bin/ruff format $(CODE)" >&2; exit 1; }
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo

whole-images: images
	@$(AS_ROOT) $(PYTHON) -m tests.lab images --whole >/dev/null

fault: $(FAULT) ## the whole crash matrix; goes on where it was interrupted

bench: images $(BENCH) ## the benchmarks; go on where they were interrupted

$(FAULT): OPTIONS := --matrix=whole
$(FAULT): | whole-images
$(BENCH): OPTIONS := -s

build/%.done: tests/%.py $(SOURCES) | images
	@mkdir -p $(@D)
	$(LAB) $(PYTEST) $(OPTIONS) $<
	@touch $@

deb: venv ## the Debian package, for this machine's architecture and Python, in build/dist
	@configs/debian/build.sh build/dist

COMPILE = build/uv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

lock: venv ## write the lock files anew from pyproject.toml (add UPGRADE=--upgrade for newer versions)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target build/uv uv
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements.lock
	$(COMPILE) $(UPGRADE) --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove what was built here, and the images
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf "$(CACHE)"
