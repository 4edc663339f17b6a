//! Takes values out of a table, key by key, and gathers everything that is wrong on the way.

use std::str::FromStr;
use std::time::Duration;

use super::value::{Data, Place, Problem, Table, Value};

/// A table that is being read. Whatever is left when it is finished is an unknown key.
pub(super) struct Reader<'p> {
    /// The keys that lead here, for messages: `queue[1]`.
    name: String,
    place: Place,
    table: Table,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(table: Table, problems: &'p mut Vec<Problem>) -> Self {
        Self { name: String::new(), place: Place::Missing, table, problems }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Takes a text and reads it; a problem counts as absent.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let Data::Text(text) = &value.data else {
            return self.refuse(key, value.place, &format!("expected {expected} in quotes"));
        };
        match read(text) {
            Ok(read) => Some(read),
            Err(why) if why.is_empty() => {
                self.refuse(key, value.place, &format!("expected {expected}, not `{text}`"))
            }
            Err(why) => self.refuse(key, value.place, &why),
        }
    }

    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        self.text(
            key,
            "a text",
            |text| if text.is_empty() { Err(String::new()) } else { Ok(text.to_owned()) },
        )
    }

    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T>
    where
        T::Err: ToString,
    {
        self.text(key, expected, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.text(key, "a duration such as \"30s\", \"5m\" or \"1h\"", |text| duration(text).ok_or_default())
    }

    pub(super) fn bytes(&mut self, key: &str) -> Option<usize> {
        let size = |text: &str| bytes(text).filter(|bytes| *bytes > 0).ok_or_default();
        self.text(key, "a size such as \"4MiB\" or \"64KiB\"", size)
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        match value.data {
            Data::Bool(value) => Some(value),
            // Variables hold only texts.
            Data::Text(text) if matches!(value.place, Place::Variable(_)) && text.parse::<bool>().is_ok() => {
                text.parse().ok()
            }
            _ => self.refuse(key, value.place, "expected true or false"),
        }
    }

    pub(super) fn strings(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Data::List(list) = value.data else {
            self.refuse::<()>(key, value.place, "expected a list of texts");
            return Vec::new();
        };
        let mut strings = Vec::new();
        for value in list {
            match value.data {
                Data::Text(text) if !text.is_empty() => strings.push(text),
                _ => _ = self.refuse::<()>(key, value.place, "expected a text"),
            }
        }
        strings
    }

    /// Reads each table of a list; `[[queue]]` and `queue = [{…}]` are the same.
    pub(super) fn tables<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Data::List(list) = value.data else {
            self.refuse::<()>(key, value.place, &format!("expected a list of tables, `[[{key}]]`"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (number, value) in list.into_iter().enumerate() {
            let name = format!("{}{key}[{number}]", self.prefix());
            found.extend(self.nested(name, value, &mut read));
        }
        found
    }

    /// Reads a table.
    pub(super) fn table<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let name = format!("{}{key}", self.prefix());
        self.nested(name, value, &mut read)
    }

    fn nested<T>(
        &mut self,
        name: String,
        value: Value,
        read: &mut dyn FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let Data::Table(table) = value.data else {
            self.problems
                .push(Problem { place: value.place, message: format!("`{name}`: expected a table") });
            return None;
        };
        let mut reader = Reader { name, place: value.place, table, problems: self.problems };
        let result = read(&mut reader);
        reader.finish();
        result
    }

    /// Takes a text that must be there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(known, _)| known == key)
    }

    pub(super) fn required<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if !self.has(key) {
            let place = self.place.clone();
            return self.refuse(key, place, "is missing");
        }
        read(self)
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self) {
        for (key, value) in self.table {
            let name = if self.name.is_empty() { key } else { format!("{}.{key}", self.name) };
            let hint = match value.place {
                Place::Variable(_) => "; variables that begin with TRAILHOUND_ are settings",
                _ => "",
            };
            self.problems
                .push(Problem { place: value.place, message: format!("unknown key `{name}`{hint}") });
        }
    }

    pub(super) fn refuse<T>(&mut self, key: &str, place: Place, message: &str) -> Option<T> {
        let message = format!("`{}{key}`: {message}", self.prefix());
        self.problems.push(Problem { place, message });
        None
    }

    /// The place of a key that is still there.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let value = self.table.iter().find(|(known, _)| known == key).map(|(_, value)| value.place.clone());
        value.unwrap_or_else(|| self.place.clone())
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.table.iter().position(|(known, _)| known == key)?;
        Some(self.table.remove(at).1)
    }

    fn prefix(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}.", self.name) }
    }
}

trait OkOrDefault<T> {
    fn ok_or_default(self) -> Result<T, String>;
}

impl<T> OkOrDefault<T> for Option<T> {
    fn ok_or_default(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

/// A number and a unit: `ms`, `s`, `m`, `h`, `d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A number and a unit: `B`, `KiB`, `MiB`, `GiB`, or the decimal `KB`, `MB`, `GB`.
pub(super) fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok())
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit() {
        assert_eq!(duration("5m"), Some(Duration::from_mins(5)));
        assert_eq!(duration("250 ms"), Some(Duration::from_millis(250)));
        for text in ["5", "m", "", "-5m", "5 minutes", "99999999999999999999h", "9999999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(bytes("4MiB"), Some(4 << 20));
        assert_eq!(bytes("1 GB"), Some(1_000_000_000));
        for text in ["4", "MiB", "4mb", "99999999999999999GiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
