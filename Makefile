# make demo   builds everything and runs the demo
# make test   builds everything and runs all tests
# See `make help`.

PYTHON ?= python3
CC ?= cc
VENV := .venv
LIBDIR := target/lib
DEMO := target/demo
BENCH_C := target/bench/call
BOOK := target/book
MDBOOK := target/mdbook/bin/mdbook
RUST := Cargo.toml Cargo.lock build.rs $(shell find src -name '*.rs')

# What libFuzzer needs: coverage and comparisons are told to it. And AddressSanitizer, whose ABI the standard library need not share.
RSIPC_FUZZ_SECONDS ?= 60
FUZZ_TARGETS := attach queues endpoints
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS := --cfg fuzzing -Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer -Cpasses=sancov-module \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
	-Copt-level=2 -Cdebug-assertions -Ccodegen-units=1

.PHONY: help demo test kill faults storm models mutations tsan miri fuzz bench bench-peers docs lint header abi clean lib build install uninstall tools
.DEFAULT_GOAL := help

help:
	@echo "make demo     count words in C, Rust and Python at once, and kill a worker in the middle"
	@echo "make test     run all tests: Rust, C (C99 and C++), Python, and all pairs of languages"
	@echo "make kill     kill at every single instruction of every operation, and write docs/kill-points.md (hours on two cores; ONLY=word: some operations)"
	@echo "make faults   break a copy of the library in several places, and show that this is found"
	@echo "make storm    let processes in C, Rust and Python do everything at once, kill some, and judge what all saw (RSIPC_STORM_MINUTES, 3)"
	@echo "make fuzz     look for what a peer that writes anything can do (RSIPC_FUZZ_SECONDS for each of three programs)"
	@echo "make models   try the schedules, memory orders and deaths that the protocols must survive, further than make test"
	@echo "make mutations weaken each ordering, fence and wake-up that docs/models.md lists, which its scene must notice"
	@echo "make tsan     run threads on one handle under ThreadSanitizer (rustup component add rust-src)"
	@echo "make miri     run what needs no kernel under Miri (rustup toolchain install nightly --component miri)"
	@echo "make bench    measure rsipc beside its peers: docs/benchmarks.md (SHORT=1: in two minutes; ONLY=word: some scenarios; RSIPC_BLESS=1: write the page)"
	@echo "make bench-peers install the peers in Python, without which their subjects are skipped"
	@echo "make docs     build the documentation as a site in target/book, and look for dead links in it"
	@echo "make lib      build librsipc.so and librsipc.a in target/lib, and the manual pages"
	@echo "make build    build them and the rsipc command: all that make install installs"
	@echo "make install  install it, the header, and what pkg-config and CMake read (PREFIX, /usr/local; DESTDIR; make uninstall)"
	@echo "make lint     check the format and the style of all code"
	@echo "make crate    build the crate as it is published, with the oldest Rust that it states, and compare its public interface with the record"
	@echo "make header   write include/ipc.h anew from src/ffi"
	@echo "make abi      record what was added to the C library's ABI in bindings/c/abi"
	@echo "make api      record what was added to the crate's public interface in tests/api"
	@echo "make clean    remove everything that was built"

demo: $(DEMO)/reader target/release/examples/demo-worker $(VENV)/.installed
	@$(VENV)/bin/python examples/demo/demo.py $(DEMO)/reader target/release/examples/demo-worker

test: tools lib $(VENV)/.tools $(DEMO)/reader
	cargo build --release --examples
	cargo test --all-features
	cargo test -p rsipc-models
	cargo test -p rsipc-cli
	RSIPC_PYTHON=$(abspath $(VENV)/bin/python) cargo test --release --test crash_random --test crash_step
	$(MAKE) -C tests/c test LIBDIR=$(abspath $(LIBDIR))
	cargo build
	$(MAKE) -C bindings/c lib BUILT=$(abspath target/debug) OUT=$(abspath target/lib-debug)
	$(MAKE) -C tests/c valgrind LIBDIR=$(abspath target/lib-debug)
	$(VENV)/bin/python -m pytest tests/python
	$(VENV)/bin/python -m pytest tests/mixed
	$(VENV)/bin/python -m pytest tests/bench
	$(VENV)/bin/python -m pytest tests/toolchain
	cargo build -p rsipc-docs
	cargo build -p total
	$(VENV)/bin/python -m pytest tests/docs

# What the tests need that cargo and pip do not bring.
tools:
	@missing=$$(tests/tools.sh); test -z "$$missing" || { echo "the tests need programs that are not installed: apt-get install" $$missing >&2; exit 1; }

kill: $(VENV)/.tools
	RSIPC_CRASH=full RSIPC_CRASH_ONLY="$(ONLY)" RSIPC_CRASH_TABLE=$(abspath docs/kill-points.md) RSIPC_PYTHON=$(abspath $(VENV)/bin/python) \
		cargo test --release --test crash_step

faults:
	$(PYTHON) tests/crash/faults.py

storm: lib $(VENV)/.tools
	cargo build --release --examples
	$(MAKE) -C tests/c peers LIBDIR=$(abspath $(LIBDIR))
	RSIPC_STORM_MINUTES=$${RSIPC_STORM_MINUTES:-3} $(VENV)/bin/python -m pytest -s tests/mixed/test_storm.py

# New inputs go to fuzz/found; those that are worth keeping are put into fuzz/corpus by hand (`-merge=1`).
fuzz:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --release --manifest-path fuzz/Cargo.toml --target-dir fuzz/target --target $(FUZZ_HOST)
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target && \
		fuzz/target/$(FUZZ_HOST)/release/$$target -max_total_time=$(RSIPC_FUZZ_SECONDS) -timeout=60 -max_len=256 -len_control=0 -detect_leaks=0 \
			-artifact_prefix=fuzz/found/$$target- fuzz/found/$$target fuzz/corpus/$$target || exit 1; \
	done

models:
	cargo run --release -p rsipc-models

mutations:
	cargo run --release -p rsipc-models mutations

# What needs neither the kernel nor shared memory.
miri:
	cargo +nightly miri test --no-default-features --lib -- address:: envelope:: options:: process::

# The standard library is instrumented, too: without that its reference counts look like races. The sanitizer does not know fences, of which no
# data depends.
tsan:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
		cargo test -Zbuild-std --target $(shell rustc --print host-tuple) --target-dir target/tsan --no-default-features --test threads

# EFFORT=smoke only shows that everything runs.
EFFORT ?= $(if $(SHORT),short,full)
BENCH_OUT ?= target/bench
BENCH := cargo run --quiet --release --manifest-path benches/Cargo.toml --

bench: $(VENV)/.installed $(BENCH_C)
	$(BENCH) --effort $(EFFORT) --only "$(ONLY)" --out $(BENCH_OUT) --python $(VENV)/bin/python --c-program $(BENCH_C) \
		$(if $(filter 1,$(RSIPC_BLESS)),--page docs/benchmarks.md)

bench-peers: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'rsipc[bench]'

$(BENCH_C): benches/c/call.c include/ipc.h $(LIBDIR)/librsipc.so
	@mkdir -p $(dir $@)
	$(CC) -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -o $@ $< -L$(LIBDIR) -lrsipc -Wl,-rpath,$(abspath $(LIBDIR))

.PHONY: mandoc
mandoc:
	@command -v mandoc >/dev/null || { echo "the manual pages need mandoc, which is not installed: apt-get install mandoc" >&2; exit 1; }

# The book, and beside it the reference of the languages that have theirs as pages.
docs: mandoc $(MDBOOK)
	@rm -rf $(BOOK)
	$(MDBOOK) build docs
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	cp -r target/doc $(BOOK)/rust
	$(PYTHON) bindings/c/man.py include/ipc.h $(BOOK)/man
	cd $(BOOK)/man && for page in man?/*; do mandoc -T html -O man=%N.%S.html $$page > $$(basename $$page).html || exit 1; done && rm -r man?
	$(PYTHON) tests/docs/dead_links.py $(BOOK)

# Without optimization it is built in half the time.
$(MDBOOK):
	cargo install --quiet --locked --debug --no-default-features --features search --root target/mdbook --version 0.5.4 mdbook

lint: $(VENV)/.tools
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path benches/Cargo.toml --check
	cargo clippy --manifest-path benches/Cargo.toml -- -D warnings
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --all-targets --all-features -- -D warnings
	for feature in "" capi async serde; do cargo clippy --no-default-features --features "$$feature" -- -D warnings || exit 1; done
	PYO3_CONFIG_FILE=$(abspath bindings/python/free_threaded.cfg) cargo clippy --target-dir target/free-threaded -p rsipc-python --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	$(VENV)/bin/ruff check --config bindings/python/pyproject.toml benches bindings docs examples tests
	$(VENV)/bin/ruff format --check --config bindings/python/pyproject.toml benches bindings docs examples tests
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml bindings/python/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml examples/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml examples/demo
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/mixed
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/bench
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/docs
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml --scripts-are-modules docs/programs/python docs/programs/tutorial
	MYPYPATH=bindings/c $(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/toolchain bindings/c
	$(VENV)/bin/python -m mypy.stubtest rsipc --allowlist bindings/python/stubtest_allowlist.txt --ignore-unused-allowlist

# The oldest Rust that builds the crate, as Cargo.toml states it: this machine's, or one that rustup installs.
OLDEST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
CARGO_OF_OLDEST = $(if $(findstring rustc $(OLDEST).,$(shell rustc --version)),cargo,rustup run --install $(OLDEST) cargo)

.PHONY: crate api

crate:
	$(CARGO_OF_OLDEST) package --quiet --allow-dirty --locked --package rsipc --all-features
	$(CARGO_OF_OLDEST) run --quiet --package rsipc-api

api:
	$(CARGO_OF_OLDEST) run --quiet --package rsipc-api -- record

header:
	RSIPC_BLESS=1 cargo test --test header

abi: $(VENV)/.tools
	RSIPC_BLESS=1 $(VENV)/bin/python -m pytest tests/toolchain/test_abi.py

lib: $(LIBDIR)/librsipc.so

target/release/librsipc.a: $(RUST)
	cargo build --release
	@touch $@

$(LIBDIR)/librsipc.so: target/release/librsipc.a bindings/c/rsipc.map
	$(MAKE) -C bindings/c lib

# All that is built of what `make install` installs: it need not find cargo, as root often does not.
build: lib target/release/rsipc

install: build
	$(MAKE) -C bindings/c install
	$(MAKE) -C bindings/shell install

uninstall:
	$(MAKE) -C bindings/c uninstall
	$(MAKE) -C bindings/shell uninstall

target/release/rsipc: $(RUST) $(shell find bindings/shell/src -name '*.rs')
	cargo build --release -p rsipc-cli
	@touch $@

target/release/examples/demo-worker: $(RUST) examples/demo/worker.rs
	cargo build --release --example demo-worker
	@touch $@

$(DEMO)/reader: examples/demo/reader.c include/ipc.h $(LIBDIR)/librsipc.so
	@mkdir -p $(DEMO)
	$(CC) -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -o $@ $< -L$(LIBDIR) -lrsipc -Wl,-rpath,$(abspath $(LIBDIR))

$(VENV)/.installed: $(RUST) $(shell find bindings/python -name '*.rs' -o -name '*.py*' -o -name '*.toml')
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check './bindings/python[demo]'
	@touch $@

$(VENV)/.tools: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'rsipc[test]'
	@touch $@

clean:
	cargo clean
	rm -rf $(VENV) fuzz/target benches/target
