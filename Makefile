# Everything a newcomer and CI need. A fresh machine brings python3 (3.11 or 3.12, with venv) and make.

PYTHON ?= python3
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
# Trust what this machine trusts: an index may stand behind a proxy with a certificate of its own.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)

.PHONY: run test check bench evals lock clean

run: .venv/.run
	@exec $(BIN)/python -m api run

test: .venv/.dev
	$(BIN)/pytest -n 2 --dist worksteal

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright

bench: .venv/.dev
	$(BIN)/python -m tests.bench

evals: .venv/.dev
	$(BIN)/python -m evals run

# Names, versions and hashes; addresses of package indexes are not written down.
LOCK = .uv/bin/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header

lock: .uv/bin/uv
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv .uv .pytest_cache .ruff_cache .import_linter_cache

# The installer is a package itself: it reads the same index as pip, wherever that is configured to be.
.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo 'Python 3.11 or 3.12 is needed; name one: make run PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

.venv/bin/python: | .uv/bin/uv
	.uv/bin/uv venv --quiet --python $(PYTHON) .venv

# Development needs all that running needs, so that an environment for tests is good for running too.
.venv/.run: requirements.lock | .venv/bin/python
	@test -e .venv/.dev || .uv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python requirements.lock
	@test ! -e .venv/.dev || $(MAKE) --no-print-directory .venv/.dev
	@touch $@

.venv/.dev: requirements-dev.lock | .venv/bin/python
	.uv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python requirements-dev.lock
	@touch $@
