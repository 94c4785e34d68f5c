//! What is measured, one file a family.

use std::path::PathBuf;

use anyhow::Result;

use crate::harness::{RunDir, Scenario, Space};
use crate::peers::iceoryx::Place;

mod calls;
mod large;
mod locks;
mod passing;
mod python;
mod trips;

/// What the subjects need to know of the run.
#[derive(Clone)]
pub struct Ground {
    pub dir: RunDir,
    /// The Python that has rsipc.
    pub python: Option<PathBuf>,
    /// The program in C that is linked with librsipc.
    pub c_program: Option<PathBuf>,
}

impl Ground {
    pub fn space(&self) -> Result<Space> {
        self.dir.fresh()
    }

    pub fn iceoryx(&self) -> Result<Place> {
        Place::new(self.space()?, &self.dir.prefix())
    }
}

/// All scenarios.
pub fn all(ground: &Ground) -> Vec<Scenario> {
    [trips::all, passing::all, large::all, locks::all, calls::all, python::all].iter().flat_map(|family| family(ground)).collect()
}
