//! `rsipc ls`

use std::io::{Write, stdout};
use std::process::ExitCode;

use comfy_table::CellAlignment::{Left, Right};
use rsipc::Namespace;

use crate::Done;
use crate::cli::ListArgs;
use crate::object::Object;
use crate::output;

pub fn run(space: &Namespace, args: &ListArgs) -> Done {
    if args.names {
        let names: String = space.list()?.iter().map(|entry| format!("{}\n", entry.name)).collect();
        stdout().write_all(names.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let objects = Object::all(space, &[])?;
    if args.json {
        output::json(&objects)?;
        return Ok(ExitCode::SUCCESS);
    }
    if objects.is_empty() {
        eprintln!("no objects in {}", space.dir()?.display());
        return Ok(ExitCode::SUCCESS);
    }
    let row = |object: &Object| {
        vec![
            object.name.clone(),
            object.kind.into(),
            output::bytes(object.memory),
            object.fill(),
            output::processes(&object.processes),
            output::notes(object),
        ]
    };
    let head = [("NAME", Left), ("KIND", Left), ("MEMORY", Right), ("FILL", Right), ("PROCESSES", Left), ("NOTES", Left)];
    stdout().write_all(output::table(&head, objects.iter().map(row).collect()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
