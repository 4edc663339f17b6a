//! Whether a detection can be trusted, before it runs: what looks wrong with it, whether it fires on its cases and
//! on nothing else, why it matches an event or not, what the detections cover together.
//!
//! Nothing here runs while events flow, and nothing writes to a terminal: answers are values and texts that the
//! command line shows.

pub mod calls;
pub mod cases;
pub mod coverage;
pub mod explanation;
pub mod fields;
pub mod junit;
pub mod lint;
pub mod members;
pub mod practice;
pub mod records;
mod spelling;
pub mod stream;
