//! Gives the shared library its name and ABI version (soname); cargo gives it none.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let part = |name: &str| var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
    // While the version is 0.y, every y may break the ABI.
    let (major, minor) = (part("MAJOR"), part("MINOR"));
    // The library in the packages for other languages has a name of its own: beside an installed
    // library for C, nothing takes one for the other.
    let has = |feature: &str| var(format!("CARGO_FEATURE_{feature}")).is_ok();
    let name = match has("UNIFFI") && !has("CAPI") {
        true => "libmatrixe2ee_uniffi",
        false => "libmatrixe2ee",
    };
    match var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {
            println!("cargo::rustc-link-arg-cdylib=-Wl,-soname,{name}.so.{major}.{minor}")
        }
        Ok("macos") => println!(
            "cargo::rustc-link-arg-cdylib=-Wl,-install_name,@rpath/{name}.{major}.{minor}.dylib"
        ),
        _ => {}
    }
}
