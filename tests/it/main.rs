//! The program as its users meet it: the binary, its files, and the servers around it.

mod support;

mod architecture;
mod bad_input;
mod cli;
mod delivery;
mod detections;
mod queue;
mod rules;
mod watch;
