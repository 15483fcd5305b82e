# The two commands are `make run` and `make test`; everything they need, they install.
# Many tests wait for daemons rather than work, so three run at once. The walk of two machines has both processors to itself.
# The walk of one machine leaves a processor idle: what works for minutes without waiting for anybody runs beside it. Of
# two workers each takes the next file when it is done with one, and has one more waiting; so the order is that of the work.
# Which lines the tests of the first round reach is printed; measuring costs a quarter more, so the last round is not measured.
PYTHON := .venv/bin/python
BESIDE := tests/e2e/test_walk_six.py tests/e2e/test_installed.py tests/api/test_description_holds.py \
	tests/e2e/test_walk_interrupted.py tests/api/test_fuzz.py tests/daemons/test_lab_guest.py tests/store/test_retention.py
NOT_BESIDE := $(addprefix --ignore=,$(BESIDE))
IN_FILES := --dist loadfile --no-loadscope-reorder
ifneq ($(ONCE),)
RUN_FLAGS := --once
endif

.PHONY: run test check check-lint check-types check-tests golden bench install-run install-test install-check images clean

run: install-run
	@$(PYTHON) -m lab.run $(RUN_FLAGS)

test: install-test
	@$(PYTHON) -m workers.region.images build --progress
	@$(PYTHON) -m pytest -q -n 3 $(IN_FILES) -m "not e2e" $(NOT_BESIDE) --cov --cov-report=term:skip-covered
	@$(PYTHON) -m pytest -q -m e2e $(NOT_BESIDE) --durations=5
	@$(PYTHON) -m pytest -q -n 2 $(IN_FILES) $(BESIDE) --durations=5

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
