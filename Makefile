# The two commands are `make run` and `make test`; everything they need, they install.
PYTHON := .venv/bin/python
ifneq ($(ONCE),)
RUN_FLAGS := --once
endif

.PHONY: run test check golden bench install-run install-test install-check images clean

run: install-run
	@$(PYTHON) -m lab.run $(RUN_FLAGS)

test: install-test
	@$(PYTHON) -m workers.region.images build --progress
	@$(PYTHON) -m pytest --cov --cov-report=term:skip-covered -q

check: install-check
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(PYTHON) -m pytest -q -x tests/unit tests/property tests/golden

golden: install-check
	@$(PYTHON) -m tests.golden.rewrite

bench: install-test
	@$(PYTHON) -m workers.region.images build --progress
	@$(PYTHON) -m bench $(BENCH)

images: install-run
	@$(PYTHON) -m workers.region.images build --progress

install-run install-test install-check: install-%:
	@python3 lab/install.py --for $*

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache muster.egg-info
