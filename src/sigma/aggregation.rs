//! The aggregation that conditions once had, `selection | count(field) by group > 5`: what to write instead.

/// The correlation that says the same, in words; `condition` has a `|`.
pub(super) fn successor(condition: &str) -> String {
    let aggregation = condition.split_once('|').map_or("", |(_, aggregation)| aggregation).trim();
    said(aggregation).unwrap_or_else(|| "a correlation of its own document".to_owned())
}

fn said(aggregation: &str) -> Option<String> {
    if aggregation.starts_with("near") {
        return Some("a `temporal` correlation over rules of their own".to_owned());
    }
    let (function, rest) = aggregation.split_once('(')?;
    let (field, rest) = rest.split_once(')')?;
    let kind = match (function.trim(), field.trim()) {
        ("count", "") => "event_count",
        ("count", _) => "value_count",
        ("sum", _) => "value_sum",
        ("avg", _) => "value_avg",
        _ => return None,
    };
    let at = rest.find(['<', '>', '='])?;
    let (group, comparison) = rest.split_at(at);
    let number = comparison.trim_start_matches(['<', '>', '=']);
    let operator = match &comparison[..comparison.len() - number.len()] {
        ">" => "gt",
        ">=" => "gte",
        "<" => "lt",
        "<=" => "lte",
        "=" | "==" => "eq",
        _ => return None,
    };
    let number = number.trim();
    let condition = match field.trim() {
        "" => format!("{operator}: {number}"),
        field => format!("field: {field}, {operator}: {number}"),
    };
    let group = match group.trim().strip_prefix("by ") {
        Some(group) => format!("`group-by: [{}]`, ", group.trim()),
        None => String::new(),
    };
    Some(format!("a correlation with `type: {kind}`, {group}`timespan` and `condition: {{{condition}}}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_write_instead() {
        let cases = [
            (
                "s | count() by x.y > 5",
                "a correlation with `type: event_count`, `group-by: [x.y]`, `timespan` and `condition: {gt: 5}`",
            ),
            (
                "s | count(a.b) >= 10",
                "a correlation with `type: value_count`, `timespan` and `condition: {field: a.b, gte: 10}`",
            ),
            ("s | near t within 5m", "a `temporal` correlation over rules of their own"),
            ("s | max(a) > 5", "a correlation of its own document"),
            ("s | count(", "a correlation of its own document"),
            ("s |", "a correlation of its own document"),
        ];
        for (condition, expected) in cases {
            assert_eq!(successor(condition), expected, "{condition}");
        }
    }
}
