#![no_main]

#[path = "../../tests/garbage/mod.rs"]
mod garbage;

libfuzzer_sys::fuzz_target!(|data: &[u8]| garbage::endpoints(data));
