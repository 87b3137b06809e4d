//! For the file that is tried out, and for nothing that loom itself is made of.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
