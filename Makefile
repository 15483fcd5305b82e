# The two commands are `make run` and `make test`; everything they need, they install.
# Many tests wait for daemons rather than work, so three run at once; those that boot machines run alone, at the end.
PYTHON := .venv/bin/python
ifneq ($(ONCE),)
RUN_FLAGS := --once
endif

.PHONY: run test check check-lint check-types check-tests golden bench install-run install-test install-check images clean

run: install-run
	@$(PYTHON) -m lab.run $(RUN_FLAGS)

test: install-test
	@$(PYTHON) -m workers.region.images build --progress
	@$(PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not e2e" --cov --cov-report=term:skip-covered
	@$(PYTHON) -m pytest -q -m e2e --durations=5

check: install-check
	@$(MAKE) --no-print-directory -j3 -O check-lint check-types check-tests

check-lint:
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@.venv/bin/lint-imports

check-types:
	@$(PYTHON) -m mypy

check-tests:
	@$(PYTHON) -m pytest -q -x -n 2 --dist loadfile --hypothesis-profile=check tests/unit tests/property tests/golden

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
