//! Which known word is probably meant by one that is not known.

/// The one that differs in one letter or in case; a short word only in case.
pub(super) fn nearest<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_ascii_lowercase();
    let most = usize::from(word.len() >= 6);
    let distances = known.filter_map(|known| {
        let length = known.len().abs_diff(word.len());
        let distance = (length <= most).then(|| distance(&known.to_ascii_lowercase(), &word))?;
        (distance <= most).then_some((distance, known))
    });
    distances.min().map(|(_, known)| known)
}

/// How many letters must be put in, left out, replaced or swapped with the next.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for row in 1..=one.len() {
        let mut next = vec![row];
        for column in 1..=other.len() {
            let replaced = rows[row - 1][column - 1] + usize::from(one[row - 1] != other[column - 1]);
            let mut least = replaced.min(rows[row - 1][column] + 1).min(next[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                least = least.min(rows[row - 2][column - 2] + 1);
            }
            next.push(least);
        }
        rows.push(next);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in [("", "ab", 2), ("abc", "abc", 0), ("abc", "axc", 1), ("abc", "bc", 1)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
