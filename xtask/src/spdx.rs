//! SPDX licence expressions, as far as crates use them.

/// Whether allowed licences alone satisfy an expression: one side of every `OR`, both of every `AND`. `None` if it is
/// no expression.
#[must_use]
pub fn satisfied(expression: &str, allowed: &[&str]) -> Option<bool> {
    // Crates from before SPDX wrote `MIT/Apache-2.0`.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().collect::<Vec<_>>().into_iter().peekable();
    let met = any(&mut words, allowed)?;
    words.next().is_none().then_some(met)
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn any(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut met = all(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed)?;
    }
    Some(met)
}

fn all(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Some(met)
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let met = any(words, allowed)?;
        return (words.next()? == ")").then_some(met);
    }
    if matches!(word, ")" | "OR" | "AND" | "WITH") {
        return None;
    }
    let met = allowed.contains(&word);
    if words.next_if_eq(&"WITH").is_some() {
        // An exception only ever permits more.
        words.next()?;
    }
    Some(met)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
        for (expression, met) in [
            ("MIT", Some(true)),
            ("MIT/Apache-2.0", Some(true)),
            ("GPL-2.0-only OR MIT", Some(true)),
            ("GPL-2.0-only", Some(false)),
            ("GPL-2.0-only AND MIT", Some(false)),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Some(true)),
            ("(MIT OR Apache-2.0) AND MPL-2.0", Some(false)),
            ("MPL-2.0 OR MIT AND GPL-3.0-only", Some(false)),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", Some(true)),
            ("GPL-2.0-only WITH Linux-syscall-note", Some(false)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT)", None),
            ("MIT Apache-2.0", None),
        ] {
            assert_eq!(satisfied(expression, &allowed), met, "{expression}");
        }
    }
}
