//! Words for people: on standard error, and tables.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::alert::is_deceptive;
use crate::config::{Config, ConfigError, Flags};
use crate::reload;
use crate::rulebook::Rulebook;

use super::Exit;

/// Tells what is wrong, on standard error.
pub(super) fn complain(message: &str) {
    say(&format!("trailhound: {message}"));
}

/// Writes lines to standard error; if nobody reads that, nobody can be told. A text of others that must not begin a line
/// of its own goes through [`plain`] before.
pub(super) fn say(lines: &str) {
    for line in lines.split('\n') {
        let _ = writeln!(io::stderr(), "{}", plain(line));
    }
}

/// Text without anything that a terminal would take for a command.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return text.into();
    }
    text.chars().map(|c| if is_deceptive(c) { '\u{fffd}' } else { c }).collect::<String>().into()
}

/// Writes an answer to standard output.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| not_written("standard output", &error))
}

/// How the program ends when something could not be written.
pub(super) fn not_written(place: &str, error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::READER_GONE;
    }
    complain(&format!("{place}: {error}"));
    Exit::INCOMPLETE
}

/// A number with separators: `2,900`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a unit of a fitting size.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, bits)| bytes >> bits > 0) {
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << bits) as f64),
        None => format!("{bytes} B"),
    }
}

/// Reads the configuration, or tells everything that is wrong with it.
pub(super) fn configuration(file: Option<&std::path::Path>, flags: Flags) -> Result<Config, Exit> {
    Config::load(file, flags).map_err(|ConfigError { problems }| {
        for problem in &problems {
            complain(&plain(&problem.to_string()));
        }
        Exit::USAGE
    })
}

/// Compiles the detections, or tells everything that is wrong with them.
pub(super) fn rulebook(config: &Config) -> Result<Rulebook, Exit> {
    let book = reload::rulebook(config);
    for fault in &book.faults {
        let word = if config.keep_going { "warning: left out: " } else { "" };
        complain(&format!("{word}{}", plain(&fault.to_string())));
    }
    if !book.faults.is_empty() && !config.keep_going {
        complain(&format!("{} rule error(s); --keep-going leaves broken rules out", book.faults.len()));
        return Err(Exit::USAGE);
    }
    if book.rules.is_empty() {
        complain("there is no detection to run");
        return Err(Exit::USAGE);
    }
    Ok(book)
}

/// The async runtime, with what all TLS connections share.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    // Fails only if it was set before, to the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        complain(&format!("the runtime cannot be started: {error}"));
        Exit::USAGE
    })
}

/// Lines of columns, each as wide as its widest cell but for the last.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width - cell.chars().count() + 2);
            line.extend([cell.as_str(), &padding]);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["0 B", "1.0 KiB", "1.5 MiB"],
            [0, 1024, 3 << 19].map(bytes).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(plain("plain é"), "plain é");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["long".to_owned(), "c".to_owned()]];
        assert_eq!(table(&rows), "a     b\nlong  c\n");
    }
}
