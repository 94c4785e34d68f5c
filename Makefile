# make demo   builds everything and runs the demo
# make test   builds everything and runs all tests
# See `make help`.

PYTHON ?= python3
CC ?= cc
VENV := .venv
LIBDIR := target/release
DEMO := target/demo
RUST := Cargo.toml Cargo.lock build.rs $(shell find src -name '*.rs')

.PHONY: help demo test kill models mutations tsan bench lint header clean lib
.DEFAULT_GOAL := help

help:
	@echo "make demo     count words in C, Rust and Python at once, and kill a worker in the middle"
	@echo "make test     run all tests: Rust, C (C99 and C++), Python, and all pairs of languages"
	@echo "make kill     kill at every single instruction of every operation, and print the table"
	@echo "make models   try the schedules, memory orders and deaths that the protocols must survive, further than make test"
	@echo "make mutations weaken each ordering, fence and wake-up in its turn, and say which model notices"
	@echo "make tsan     run threads on one handle under ThreadSanitizer (rustup component add rust-src)"
	@echo "make bench    measure the calls beside what others offer for the same"
	@echo "make lib      build target/release/librsipc.so and librsipc.a"
	@echo "make lint     check the format and the style of all code"
	@echo "make header   write include/ipc.h anew from src/ffi"
	@echo "make clean    remove everything that was built"

demo: $(DEMO)/reader $(LIBDIR)/examples/demo-worker $(VENV)/.installed
	@$(VENV)/bin/python examples/demo/demo.py $(DEMO)/reader $(LIBDIR)/examples/demo-worker

test: lib $(VENV)/.tools $(DEMO)/reader
	cargo build --release --examples
	cargo test --features async
	cargo test -p rsipc-models
	cargo test --release --test crash_random --test crash_step
	$(MAKE) -C tests/c test LIBDIR=$(abspath $(LIBDIR))
	cargo build
	$(MAKE) -C tests/c valgrind LIBDIR=$(abspath target/debug)
	$(VENV)/bin/python -m pytest tests/python
	$(VENV)/bin/python -m pytest tests/mixed

kill:
	RSIPC_CRASH=full cargo test --release --features async --test crash_step

models:
	cargo run --release -p rsipc-models

mutations:
	cargo run --release -p rsipc-models mutations

# The standard library is instrumented, too: without that its reference counts look like races. The sanitizer does not know fences, of which no
# data depends.
tsan:
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
		cargo test -Zbuild-std --target $(shell rustc --print host-tuple) --target-dir target/tsan --no-default-features --test threads

bench:
	cargo bench --bench passing
	cargo bench --bench objects

lint: $(VENV)/.tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --all-targets --features async -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features async
	$(VENV)/bin/ruff check --config bindings/python/pyproject.toml bindings examples tests
	$(VENV)/bin/ruff format --check --config bindings/python/pyproject.toml bindings examples tests
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml bindings/python/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml examples/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/python
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml examples/demo
	$(VENV)/bin/mypy --config-file bindings/python/pyproject.toml tests/mixed
	$(VENV)/bin/python -m mypy.stubtest rsipc --allowlist bindings/python/stubtest_allowlist.txt --ignore-unused-allowlist

header:
	RSIPC_BLESS=1 cargo test --test header

lib: $(LIBDIR)/librsipc.so

# The soname's name beside the library lets programs run that were linked against it here.
$(LIBDIR)/librsipc.so: $(RUST)
	cargo build --release
	@ln -sf librsipc.so $(LIBDIR)/librsipc.so.0
	@touch $@

$(LIBDIR)/examples/demo-worker: $(RUST) examples/demo/worker.rs
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
	rm -rf $(VENV)
