# Everything starts here. `make demo` and `make test` need Python >= 3.11 and nothing else.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
CI_ENV ?= .ci-env
WORKERS ?= 2
READY := $(VENV)/.installed
BESIDE := needs_ceph or needs_localstack or needs_hf or needs_systemd or needs_podman or needs_packaging or needs_frameworks or needs_chromium

export SPOTGUARD_CI_ENV ?= $(CI_ENV)
export SPOTGUARD_HF_PYTHON ?= $(abspath $(SPOTGUARD_CI_ENV))/hf/bin/python
export SPOTGUARD_JAX_PYTHON ?= $(abspath $(SPOTGUARD_CI_ENV))/jax/bin/python

.PHONY: demo test check test-all test-beside bench format clean

demo: $(READY)
	$(VENV)/bin/spotguard demo

# Needs Python only.
test: $(READY)
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadfile -m "not ($(BESIDE))"

# Needs what .ci/run installs beside Python: Ceph, LocalStack, the Hugging Face Trainer, systemd.
test-beside: $(READY)
	$(VENV)/bin/pytest -m "($(BESIDE)) and not needs_frameworks"
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadfile -m needs_frameworks

test-all: test test-beside

# Needs a C compiler, OpenSSL's headers and 17 GiB of memory; ONLY=upload for one of them, ROUNDS=5 runs of each.
bench: $(READY) .bench-env/.installed
	$(VENV)/bin/python -m compileall -q spotguard  # as an installed package is, whatever PYTHONDONTWRITEBYTECODE says
	$(VENV)/bin/python -m benchmarks --only "$(ONLY)" --rounds $(or $(ROUNDS),5)

.bench-env/.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .bench-env
	.bench-env/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

check: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(READY)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

# The project itself comes last and without its dependencies: they are the pinned ones.
$(READY): requirements/test.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "spotguard needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
