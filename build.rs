//! Gives the shared library its name and ABI version (soname); cargo gives it none.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let part = |name: &str| var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
    // While the version is 0.y, every y may break the ABI.
    let (major, minor) = (part("MAJOR"), part("MINOR"));
    match var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {
            println!("cargo::rustc-link-arg-cdylib=-Wl,-soname,libmatrixe2ee.so.{major}.{minor}")
        }
        Ok("macos") => println!(
            "cargo::rustc-link-arg-cdylib=-Wl,-install_name,@rpath/libmatrixe2ee.{major}.{minor}.dylib"
        ),
        _ => {}
    }
}
