# make lib                    the shared and the static library, with the C ABI alone
# make install PREFIX=/usr    header, libraries, pkg-config file, CMake package (DESTDIR= works)
# make test-c                 the C and C++ programs of tests/c, with sanitizers and valgrind

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
RELEASE := $(TARGET_DIR)/release
# What a program needs beside the static library (rustc --print native-static-libs).
STATIC_LIBS := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

FILL := sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
            -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@VERSION@|$(VERSION)|g' \
            -e 's|@SOVERSION@|$(SOVERSION)|g' -e 's|@STATIC_LIBS@|$(STATIC_LIBS)|g'

.PHONY: lib install test-c

# `cargo build` would leave out link-time optimisation, because the crate is a Rust library too.
lib:
	$(CARGO) rustc --release --lib --crate-type cdylib,staticlib \
	    --no-default-features --features $(FEATURES) --target-dir $(TARGET_DIR)

install: lib
	install -d $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/matrixe2ee
	install -m 644 include/matrixe2ee.h $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 $(RELEASE)/libmatrixe2ee.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(RELEASE)/libmatrixe2ee.so $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so.$(VERSION)
	ln -sf libmatrixe2ee.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so.$(SOVERSION)
	ln -sf libmatrixe2ee.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libmatrixe2ee.so
	$(FILL) packaging/matrixe2ee.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/matrixe2ee.pc
	for file in matrixe2ee-config.cmake matrixe2ee-config-version.cmake; do \
	    $(FILL) packaging/$$file.in > $(DESTDIR)$(LIBDIR)/cmake/matrixe2ee/$$file || exit 1; \
	done

test-c: lib
	tests/c/run.sh
