//! The public interface of the crate only grows: programs that were written for one release compile with the next.
//!
//! `public.txt` has the record of it: an item a line, as rustdoc sees them, with what is Send and Sync. A line that is gone or
//! has changed is an error. One that is new is an error until `make api` has recorded it: look there whether it keeps anybody's
//! program from compiling (a variant of an enum that is not `non_exhaustive`, for example). A release whose programs have to be
//! changed has another number in front (another second one, before 1.0): then anything may change, and `make api` writes the
//! record anew. The C functions have a record of their own, in bindings/c/abi.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use public_api::Builder;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("tests/api/public.txt");
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let found = format!("{}\n{}", release(), interface(&root));
    let (gone, new) = (missing(&recorded, &found), missing(&found, &recorded));
    // What was not Send may be from now on.
    let gone: String = gone.split_inclusive('\n').filter(|line| !line.contains("!core::marker::")).collect();

    let must_stay = recorded.lines().next() == Some(release().as_str());
    if must_stay && !gone.is_empty() {
        eprintln!(
            "Programs that use these do not compile any more with the crate:\n\n{gone}\nKeep them, or give the release another number."
        );
        return ExitCode::FAILURE;
    }
    if std::env::args().nth(1).as_deref() == Some("record") {
        std::fs::write(&path, found).expect("the record can be written");
        println!("recorded:\n\n{new}");
    } else if recorded != found {
        eprintln!("The public interface is not what {} says: `make api` records this:\n\n{new}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The releases that programs written for one of them can use as well.
fn release() -> String {
    match (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")) {
        ("0", minor) => format!("rsipc 0.{minor}"),
        (major, _) => format!("rsipc {major}"),
    }
}

/// The items of the public interface, each on its line.
fn interface(root: &Path) -> String {
    // Apart from other builds: what some packages are built as depends on RUSTC_BOOTSTRAP, without which rustdoc does not write JSON.
    let target = root.join("target/api");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["rustdoc", "--quiet", "--package", "rsipc", "--lib", "--no-default-features", "--features", "async,serde"])
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    assert!(status.expect("cargo runs").success(), "rustdoc failed");
    let api = Builder::from_rustdoc_json(target.join("doc/rsipc.json")).omit_blanket_impls(true).build();
    let api = api.expect("rustdoc of the Rust that Cargo.toml states writes what public-api reads");
    api.items().fold(String::new(), |mut lines, item| {
        writeln!(lines, "{item}").expect("a string takes all");
        lines
    })
}

/// The lines that are in the first text and not in the second.
fn missing(first: &str, second: &str) -> String {
    let second: BTreeSet<&str> = second.lines().collect();
    first.lines().filter(|line| !second.contains(line)).map(|line| format!("  {line}\n")).collect()
}
