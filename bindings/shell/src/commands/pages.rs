//! `rsipc completions` and `rsipc man`

use std::fs;
use std::io::{self, Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::Done;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::failure::Failure;

pub fn completions(args: &CompletionsArgs) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rsipc", &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = match args.shell {
        Shell::Bash => format!("{script}\n{BASH_NAMES}"),
        Shell::Zsh => zsh_with_names(&script),
        Shell::Fish => format!("{script}{FISH_NAMES}"),
        _ => script.into_owned(),
    };
    stdout().write_all(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Completes the names of objects behind the commands that take them.
const BASH_NAMES: &str = r#"_rsipc_or_names() {
    local name
    _rsipc "$@"
    case "${COMP_WORDS[1]}" in
        stat|watch|send|recv|shutdown|call|serve|lock|rm)
            if [[ ${COMP_CWORD} -ge 2 && "$2" != -* ]]; then
                COMPREPLY=()
                while IFS= read -r name; do
                    [[ "${name}" == "$2"* ]] && COMPREPLY+=("$(printf %q "${name}")")
                done < <("$1" ls --names 2>/dev/null)
            fi
            ;;
    esac
}
complete -F _rsipc_or_names -o bashdefault -o default rsipc
"#;

/// The same.
const FISH_NAMES: &str = r#"complete -c rsipc -n "__fish_seen_subcommand_from stat watch send recv shutdown call serve lock rm" -f -a "(rsipc ls --names 2>/dev/null)"
"#;

/// The same, where the script has the arguments that are names. Those of what is to be created are none yet.
fn zsh_with_names(script: &str) -> String {
    let complete = |line: &str| {
        let is_name = line.starts_with("':name -- The ") || line.starts_with("'*::names -- The ");
        let names = if is_name { r#":{compadd -- ${(f)"$(rsipc ls --names 2>/dev/null)"}}'"# } else { ":_default'" };
        line.replace(":_default'", names) + "\n"
    };
    script.lines().map(complete).collect()
}

pub fn man(args: &ManArgs) -> Done {
    let about = |error: io::Error| Failure::from(error).about(args.dir.display());
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    fs::create_dir_all(&args.dir).map_err(about)?;
    write_pages(&cli, &args.dir).map_err(about)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and of those below it.
fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, dir)?;
    }
    let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone().after_help(None).after_long_help(None));
    let man = man.source(concat!("rsipc ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page)?;
    sections(&end).to_writer(&mut page)?;
    fs::write(dir.join(man.get_filename()), page)
}

/// What stands at the end of the help, as sections of a page: what is before the first heading are notes.
fn sections(help: &str) -> Roff {
    let heading = |line| match line {
        "Examples:" | "Example:" => Some("EXAMPLES"),
        "Exit status:" => Some("EXIT STATUS"),
        _ => None,
    };
    let mut roff = Roff::new();
    if help.lines().next().is_some_and(|line| heading(line).is_none()) {
        roff.control("SH", ["NOTES"]);
    }
    let mut first = true;
    for line in help.lines().filter(|line| !line.is_empty()) {
        if let Some(title) = heading(line) {
            roff.control("SH", [title]);
        } else {
            // A line that is indented begins anew by itself.
            if !first && !line.starts_with(' ') {
                roff.control("br", []);
            }
            roff.text([roman(line)]);
        }
        first = heading(line).is_some();
    }
    roff
}
