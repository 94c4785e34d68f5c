//! A picture of each scenario: its ratios as bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::harness::{Better, Scenario};
use crate::report::{Row, ratio_in_words};

const WIDTH: u32 = 1000;
const BAR: u32 = 34;
const NAMES: i32 = 400;
const TOP: i32 = 70;
const BOTTOM: i32 = 60;
const RIGHT: i32 = 90;
/// From here on the axis is logarithmic.
const FAR_APART: f64 = 20.0;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0xb0, 0xb7, 0xbf);
const MARK: RGBColor = RGBColor(0xc0, 0x39, 0x2b);
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);

pub fn write(path: &Path, scenario: &Scenario, rows: &[Row]) -> Result<()> {
    draw(path, scenario, rows).map_err(|error| anyhow!("drawing {}: {error}", path.display()))
}

fn draw(path: &Path, scenario: &Scenario, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, row.ratio?))).collect();
    let height = TOP + BOTTOM + (rows.len() as u32 * BAR) as i32;
    let area = SVGBackend::new(path, (WIDTH, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: f64| ("sans-serif", size).into_font().color(&TEXT);
    let right = |size: f64| text(size).pos(Pos::new(HPos::Right, VPos::Center));
    let left = |size: f64| text(size).pos(Pos::new(HPos::Left, VPos::Center));
    let better = if scenario.better == Better::Lower { "shorter" } else { "longer" };
    area.draw(&Text::new(scenario.name, (16, 22), left(20.0)))?;
    let logarithmic = is_far_apart(&rows);
    let kind = if logarithmic { ", logarithmic" } else { "" };
    area.draw(&Text::new(format!("{}; {better} bars are better{kind}", scenario.title), (16, 46), left(15.0)))?;

    let axis = Axis::new(&rows, logarithmic);
    let bottom = height - BOTTOM;
    for tick in axis.ticks() {
        let x = axis.x(tick);
        area.draw(&PathElement::new(vec![(x, TOP), (x, bottom)], RGBColor(0xe4, 0xe4, 0xe4)))?;
        let centered = text(12.0).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(format!("{tick}"), (x, bottom + 12), centered))?;
    }
    for (i, (row, ratio)) in rows.iter().enumerate() {
        let y = TOP + (i as u32 * BAR) as i32;
        let middle = y + BAR as i32 / 2;
        let color = if row.subject.starts_with("rsipc") { OURS } else { OTHERS };
        area.draw(&Text::new(row.subject, (NAMES - 10, middle), right(13.0)))?;
        area.draw(&Rectangle::new([(NAMES, y + 6), (axis.x(*ratio), y + BAR as i32 - 6)], color.filled()))?;
        area.draw(&Text::new(ratio_in_words(*ratio), (axis.x(*ratio) + 6, middle), left(13.0)))?;
        if let Some(mark) = row.mark {
            let x = axis.x(mark);
            area.draw(&PathElement::new(vec![(x, y + 2), (x, y + BAR as i32 - 2)], MARK.stroke_width(3)))?;
        }
    }
    let mut against: Vec<&str> = rows.iter().map(|(row, _)| row.against).collect();
    against.sort_unstable();
    against.dedup();
    area.draw(&Text::new(format!("times {}", against.join("; ")), (NAMES, bottom + 30), left(13.0)))?;
    if rows.iter().any(|(row, _)| row.mark.is_some()) {
        area.draw(&Text::new("red line: what is wanted", (NAMES, bottom + 48), left(12.0).color(&MARK)))?;
    }
    area.present()?;
    Ok(())
}

fn is_far_apart(rows: &[(&Row, f64)]) -> bool {
    let (least, most) = bounds(rows);
    most / least > FAR_APART
}

fn bounds(rows: &[(&Row, f64)]) -> (f64, f64) {
    let all = rows.iter().flat_map(|(row, ratio)| row.mark.into_iter().chain([*ratio]));
    all.fold((1.0, 1.0), |(least, most): (f64, f64), ratio| (least.min(ratio), most.max(ratio)))
}

/// Where ratios lie from left to right.
struct Axis {
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(rows: &[(&Row, f64)], logarithmic: bool) -> Self {
        let (least, most) = bounds(rows);
        if logarithmic {
            // The bars of the least have a length, too.
            Self { logarithmic, from: 10f64.powf((least / 1.5).log10().floor()), to: most * 1.2 }
        } else {
            Self { logarithmic, from: 0.0, to: most * 1.05 }
        }
    }

    fn x(&self, ratio: f64) -> i32 {
        let width = f64::from(WIDTH as i32 - NAMES - RIGHT);
        let part = if self.logarithmic {
            (ratio / self.from).log10() / (self.to / self.from).log10()
        } else {
            (ratio - self.from) / (self.to - self.from)
        };
        NAMES + (part * width) as i32
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let first = self.from.log10().round() as i32;
            (first..).map(|power| 10f64.powi(power)).take_while(|tick| *tick <= self.to).collect()
        } else {
            let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0].into_iter().find(|step| self.to / step <= 10.0).unwrap_or(10.0);
            (0..).map(|i| (f64::from(i) * step * 10.0).round() / 10.0).take_while(|tick| *tick <= self.to).collect()
        }
    }
}
