//! The names most like an unknown one.

/// How many suggestions at most.
const SUGGESTIONS: usize = 5;

/// Number of edits (insert, delete, replace, swap neighbours) that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut rows: [Vec<usize>; 3] = [vec![0; width], (0..width).collect(), vec![0; width]];
    for (i, x) in a.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            row[j + 1] = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

/// The `names` most like `word`, best first. Each is a name to show and the words it is found by; `word` and these are
/// normalised. Names that contain the word come first; names that differ in more than a third of the word are left out.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = (&'a str, Vec<String>)>) -> Vec<&'a str> {
    let limit = word.len().div_ceil(3).max(1);
    let mut found: Vec<(usize, usize, &str)> = names
        .filter_map(|(name, keys)| {
            let rank = |key: &String| {
                if word.len() >= 3 && key.contains(word) {
                    return Some((0, key.len() - word.len()));
                }
                let distance = distance(word.as_bytes(), key.as_bytes());
                (distance <= limit).then_some((1, distance))
            };
            let (kind, rank) = keys.iter().filter_map(rank).min()?;
            Some((kind, rank, name))
        })
        .collect();
    found.sort();
    found.dedup_by_key(|(_, _, name)| *name);
    found.into_iter().map(|(_, _, name)| name).take(SUGGESTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ab", 1),
            ("", "ab", 2),
            ("abc", "acb", 1),
            ("nosocket", "nosokcet", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), edits, "{b} {a}");
        }
    }

    #[test]
    fn the_best_come_first_and_the_rest_does_not_come() {
        let names = ["nosocket", "socketclose", "econnrefused", "refused"];
        let found = |word| nearest(word, names.into_iter().map(|name| (name, vec![name.to_owned()])));
        assert_eq!(found("nosoket"), ["nosocket"]);
        assert_eq!(found("socket"), ["nosocket", "socketclose"]);
        assert_eq!(found("refuse"), ["refused", "econnrefused"]);
        assert!(found("xyzzy").is_empty());
        assert!(found("").is_empty());
    }
}
