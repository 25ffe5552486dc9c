//! "Did you mean …?"

/// The candidate nearest to what was written, if one is near enough to be meant.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = match written.len() {
        0..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    let lower = written.to_lowercase();
    let near = candidates.into_iter().filter_map(|candidate| {
        let distance = distance(&lower, &candidate.to_lowercase());
        (distance <= most && candidate != written).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replace = at(&last, j) + usize::from(left != right);
            let mut cost = replace.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swap =
                i > 0 && j > 0 && a.get(i - 1) == Some(right) && b.get(j - 1) == Some(left);
            if is_swap {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = ["listeners", "accessLog", "timeoutInMillis", "uri"];
        assert_eq!(nearest("listener", keys), Some("listeners"));
        assert_eq!(nearest("accesslog", keys), Some("accessLog"));
        assert_eq!(nearest("timeoutInMilis", keys), Some("timeoutInMillis"));
        assert_eq!(nearest("url", keys), Some("uri"));
        assert_eq!(nearest("lisetners", keys), Some("listeners"));
        assert_eq!(nearest("database", keys), None);
    }
}
