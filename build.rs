//! Gives the shared library its soname: programs linked against one 0.x release's `librsipc.so.0` run with the next.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librsipc.so.0");
}
