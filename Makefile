# Everything a developer or CI runs. `make help` lists it.

.DEFAULT_GOAL := help
CARGO         ?= cargo
SECONDS_SHOWN ?= 20
TEST_FLAGS    ?=
CHAOS_FLAGS   ?= --seconds 600
BENCH_LINES   ?=
DENY_CHECKS   ?= licenses bans sources
# One more than there are cores: the test of a steady load lasts three minutes and mostly waits, and the others go on beside it.
TEST_THREADS  ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Rules of the cache protocol whose absence a minute of faults shows.
CHAOS_RULES   ?= lease-checked rows-applied first-poll-empties taint

.PHONY: help demo test test-long test-api test-import test-browser screenshots openapi check deny bench bench-peers chaos prepare db postgres nginx lint docs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

postgres: ## Find PostgreSQL server binaries, or install them
	@scripts/install-postgres.sh

nginx: ## Find nginx, or install it
	@scripts/install-nginx.sh

demo: postgres ## Three nodes, one PostgreSQL, real traffic: see sessions shared and ended
	$(CARGO) run --locked -- demo --seconds $(SECONDS_SHOWN)

test: postgres nginx ## Every test, long ones at a tenth of their size
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked --no-fail-fast $(TEST_FLAGS)

test-long: postgres nginx ## Every test at full size; takes long
	TENURE_TEST_LONG=1 $(CARGO) test --locked --release --no-fail-fast -- --nocapture --test-threads=1

test-browser: postgres ## The script for pages, and the console, in a real Chromium
	@scripts/install-chromium.sh
	@scripts/install-axe.sh
	$(CARGO) test --locked --test it -- --ignored --test-threads=2 chromium::

screenshots: postgres ## Take the pictures of the console in docs/images anew
	@scripts/install-chromium.sh
	$(CARGO) test --locked --test it -- --ignored pictures::

test-api: postgres ## A stock OAuth client, and thousands of requests made from the API's own description
	scripts/test-api.sh

test-import: postgres ## Move in from tables of the real connect-pg-simple and Django; TENURE_IMPORT_ROWS=1000000 for the full size
	scripts/test-import.sh

openapi: postgres ## Write docs/openapi.json anew from the handlers
	TENURE_WRITE_OPENAPI=1 $(CARGO) test --locked --test it -- --exact api::documents::the_committed_document_is_the_one_that_is_served

lint: ## Format and lints, and the light build for embedders
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	scripts/check-light-build.sh

deny: ## Licences, sources and bans of every dependency; DENY_CHECKS=advisories asks GitHub for known weaknesses
	@scripts/install-cargo-deny.sh
	target/tools/bin/cargo-deny --locked --log-level error check $(DENY_CHECKS)

docs: ## The library's documentation, without a broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

check: lint docs test ## What CI runs

bench: postgres bench-peers ## Compare with limits and peers in one run and print ratios; BENCH_LINES="cold peers" for some
	$(CARGO) bench --locked $(if $(BENCH_LINES),,--bench sweep) --bench compare -- $(BENCH_LINES)

bench-peers:
	@scripts/install-bench-peers.sh

chaos: postgres ## Ten minutes of faults under full load, judged answer by answer; CHAOS_FLAGS="--seed 7" replays a schedule
	$(CARGO) test --locked --release --test chaos -- $(CHAOS_FLAGS)
	for rule in $(CHAOS_RULES); do \
		$(CARGO) test --locked --release --test chaos -- --seed 7 --seconds 120 --weaken $$rule --expect-violation || exit 1; \
	done

prepare: postgres ## Describe every SQL statement anew into .sqlx
	scripts/prepare.sh

db: postgres ## A database for development, migrated; prints its URL
	@scripts/dev-database.sh
