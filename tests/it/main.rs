//! The program as its users meet it: the binary, its files, and the servers around it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests end so, say so and share freely"
)]

mod support;

mod architecture;
mod backtest;
mod bad_input;
mod cli;
mod crash;
mod delivery;
mod detections;
mod faults;
mod hostile;
mod live;
mod over_many;
mod queue;
mod quiet;
mod readme;
mod reload;
mod rules;
mod rules_over_many;
mod rules_tools;
mod second_opinion;
mod soak;
mod state;
mod stress;
mod tuning;
mod watch;
mod windows;
