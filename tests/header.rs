//! `include/ipc.h` is what src/ffi says, section by section. With RSIPC_BLESS=1 it is written anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

/// The header's sections, in the order of reading: files in src/ffi.
const SECTIONS: [&str; 13] = [
    "error",
    "timeout",
    "name",
    "region",
    "mutex",
    "semaphore",
    "queue",
    "batch",
    "lease",
    "loan",
    "endpoint",
    "wait",
    "counters",
];

const C_LINKAGE: &str = "#ifdef __cplusplus\nextern \"C\" {\n#endif // __cplusplus\n";
const C_LINKAGE_END: &str = "#ifdef __cplusplus\n}  // extern \"C\"\n#endif  // __cplusplus\n";

#[test]
fn the_header_is_what_the_source_says() {
    let path = root().join("include/ipc.h");
    let generated = generate();
    if std::env::var_os("RSIPC_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &generated).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("the header is there");
    let difference = generated.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert!(
        committed == generated,
        "include/ipc.h is not what src/ffi says (first difference: {difference:?}): run this test with RSIPC_BLESS=1 to write it"
    );
}

/// The whole header.
fn generate() -> String {
    let mut config = Config::from_root_or_default(root());
    let opening = config.header.take().expect("cbindgen.toml has the opening comment");
    let guard = config.include_guard.take().expect("cbindgen.toml has the include guard");
    let macros = config.after_includes.take().expect("cbindgen.toml has the macros");
    let mut header = format!("{}\n\n#ifndef {guard}\n#define {guard}\n\n", opening.trim());
    for include in std::mem::take(&mut config.sys_includes) {
        writeln!(header, "#include <{include}>").expect("a string takes all");
    }
    write!(header, "\n{}\n{}\n\n{C_LINKAGE}", version(), macros.trim()).expect("a string takes all");
    for section in SECTIONS {
        header += &generate_section(&config, section);
    }
    write!(header, "\n{C_LINKAGE_END}\n#endif /* {guard} */\n").expect("a string takes all");
    header
}

/// The macros that say what release the header is of.
fn version() -> String {
    let [major, minor, patch] =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    format!(
        "/* The release that this header is of. ipc_version and ipc_version_number tell that of the library. */\n\
         #define IPC_VERSION \"{}\"\n\
         #define IPC_VERSION_MAJOR {major}\n#define IPC_VERSION_MINOR {minor}\n#define IPC_VERSION_PATCH {patch}\n\
         #define IPC_VERSION_NUMBER (1000000 * IPC_VERSION_MAJOR + 1000 * IPC_VERSION_MINOR + IPC_VERSION_PATCH)\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What one file of src/ffi says: its own comment, then its constants, types and functions.
fn generate_section(config: &Config, section: &str) -> String {
    let path = root().join("src/ffi").join(section).with_extension("rs");
    let source = std::fs::read_to_string(&path).expect("the section's source is there");
    let about: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.trim_start()).collect();
    let (title, about) = about.split_first().expect("the file begins with a comment");
    let mut text = format!("\n/*\n * ======== {} ========\n", title.to_uppercase());
    for line in about {
        writeln!(text, "{}", format!(" * {line}").trim_end()).expect("a string takes all");
    }
    text += " */\n\n";
    let mut generated = Vec::new();
    Builder::new()
        .with_config(config.clone())
        .with_src(path)
        .generate()
        .expect("cbindgen reads the source")
        .write(&mut generated);
    let generated = String::from_utf8(generated).expect("cbindgen writes UTF-8");
    text + generated.replace(C_LINKAGE, "").replace(C_LINKAGE_END, "").replace("\n\n\n", "\n\n").trim() + "\n"
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}
