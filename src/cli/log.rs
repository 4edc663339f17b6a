//! The log, on standard error: one line for each message, whatever was written into it.
//!
//! Names of objects, answers of receivers and errors are other people's texts. Nothing in them may end a line, command a
//! terminal or turn the direction of what follows.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::terminal::complain;
use crate::alert::{escape, is_deceptive};
use crate::config::{Config, LogFormat};

/// Starts logging.
pub(super) fn start(config: &Config, default: &str) {
    let filter =
        EnvFilter::try_new(config.log.filter.as_deref().unwrap_or(default)).unwrap_or_else(|error| {
            complain(&format!("RUST_LOG: {error}; `{default}` is used"));
            EnvFilter::new(default)
        });
    let colours = config.log.format == LogFormat::Text && config.log.colours && io::stderr().is_terminal();
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines { to: io::stderr, colours });
    match config.log.format {
        LogFormat::Json => logs.json().flatten_event(true).init(),
        LogFormat::Text => logs.with_ansi(colours).with_target(false).init(),
    }
}

/// What the log's own colours are made of. A text of others may hold these, too, and does no harm by them.
const STYLES: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[3m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[35m",
];

/// Makes writers of whole messages, each of which becomes one line.
#[derive(Debug, Clone, Copy)]
struct Lines<M> {
    to: M,
    /// Whether the messages have colours in them.
    colours: bool,
}

/// Writes a message as one line.
#[derive(Debug)]
struct Line<W> {
    to: W,
    colours: bool,
}

impl<'w, W: Write, M: Fn() -> W + 'w> MakeWriter<'w> for Lines<M> {
    type Writer = Line<W>;

    fn make_writer(&'w self) -> Line<W> {
        Line { to: (self.to)(), colours: self.colours }
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(message);
        self.to.write_all(line(&text, self.colours).as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The message as a line. What is not what it seems is written as JSON would, so that a line of JSON stays one.
fn line(message: &str, colours: bool) -> String {
    let text = message.strip_suffix('\n').unwrap_or(message);
    let mut line = String::with_capacity(message.len());
    for (at, c) in text.char_indices() {
        if !is_deceptive(c) || colours && STYLES.iter().any(|style| text[at..].starts_with(style)) {
            line.push(c);
        } else {
            line.push_str(&escape(c));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\n2026 ERROR all is well\r\u{1b}[2J\u{9b}1m\u{202e}gpj\u{200b}\u{e0041}é";

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What stands in the log after something hostile was logged in every way that there is.
    fn logged(json: bool, colours: bool) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let logs = tracing_subscriber::fmt().with_writer(Lines { to: move || to.clone(), colours });
        let log = || {
            let error = io::Error::other(HOSTILE);
            tracing::warn!(text = HOSTILE, shown = %HOSTILE, error = &error as &dyn std::error::Error, "{HOSTILE}");
        };
        if json {
            tracing::subscriber::with_default(logs.json().flatten_event(true).finish(), log);
        } else {
            tracing::subscriber::with_default(logs.with_ansi(colours).finish(), log);
        }
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_message_is_one_line_that_commands_nothing() {
        for (json, colours) in [(false, false), (false, true), (true, false)] {
            let text = logged(json, colours);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let plain = STYLES.iter().fold(text.clone(), |text, style| text.replace(style, ""));
            assert_eq!(plain.trim_end().chars().find(|c| is_deceptive(*c)), None, "{text:?}");
            assert_eq!(plain != text, colours, "{text:?}");
            assert!(text.contains('é'), "{text}");
        }
    }

    #[test]
    fn a_line_of_json_keeps_its_meaning() {
        let line: serde_json::Value = serde_json::from_str(&logged(true, false)).unwrap();
        assert_eq!(line["text"], HOSTILE);
        assert_eq!(line["shown"], HOSTILE);
    }
}
