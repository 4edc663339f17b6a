//! Tables for people, on a terminal or in Markdown.

use crate::contest::Spread;

/// How tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Markdown,
}

/// Rows under a head; the first column is text, the others are numbers.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Writes the table to standard output.
    pub fn print(&self, style: Style) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.rows[0].len()).filter_map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            println!("{}", line(row, &widths, style));
            if number == 0 && style == Style::Markdown {
                let rule: Vec<&str> =
                    (0..widths.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
                println!("| {} |", rule.join(" | "));
            }
        }
        println!();
    }
}

fn line(row: &[String], widths: &[usize], style: Style) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| match column {
            // A bar begins where the others do.
            _ if column == 0 || cell.starts_with(BLOCK) => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        })
        .collect();
    match style {
        Style::Plain => cells.join("   ").trim_end().to_owned(),
        Style::Markdown => format!("| {} |", cells.join(" | ")),
    }
}

const BLOCK: char = '█';

/// Writes the title of a section, and a sentence on what it measures.
pub fn title(style: Style, title: &str, sentence: &str) {
    match style {
        Style::Plain => println!("{title}\n{}\n{sentence}\n", "=".repeat(title.chars().count())),
        Style::Markdown => println!("## {title}\n\n{sentence}\n"),
    }
}

/// A bar for a part of the whole.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar is at most twenty blocks long"
)]
pub fn bar(part: f64) -> String {
    BLOCK.to_string().repeat(((part.clamp(0.0, 1.0) * 20.0).round() as usize).max(1))
}

/// Seconds, with as many digits as mean something.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// A number with its thousands apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Millions of bytes.
pub fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown in millions")]
    let millions = bytes as f64 / 1e6;
    grouped(millions)
}

/// A ratio, with the least and the most of all rounds.
pub fn ratio(spread: Spread) -> String {
    format!("{:.2} ({:.2}..{:.2})", spread.median, spread.least, spread.most)
}
