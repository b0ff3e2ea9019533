//! Shell patterns for process names.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::FilterError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Token {
    /// This character.
    Plain(char),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[a-z]`, `[!a-z]`
    Set { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern of `*`, `?`, `[a-z]`, `[!a-z]` and `\` before a plain one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glob(Vec<Token>);

impl FromStr for Glob {
    type Err = FilterError;

    fn from_str(pattern: &str) -> Result<Self, FilterError> {
        if pattern.is_empty() {
            return Err(FilterError::Empty);
        }
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '[' => set(&mut chars)?,
                '\\' => Token::Plain(chars.next().ok_or(FilterError::GlobBackslash)?),
                c => Token::Plain(c),
            });
        }
        Ok(Self(tokens))
    }
}

/// Parses the rest of a set after its `[`. As in the shell, a `]` in the first place is a plain one.
fn set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, FilterError> {
    let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next().ok_or(FilterError::GlobBracket)? {
            ']' if !ranges.is_empty() => return Ok(Token::Set { negated, ranges }),
            '\\' => chars.next().ok_or(FilterError::GlobBackslash)?,
            c => c,
        };
        if chars.next_if_eq(&'-').is_none() {
            ranges.push((low, low));
            continue;
        }
        match chars.next().ok_or(FilterError::GlobBracket)? {
            ']' => {
                ranges.extend([(low, low), ('-', '-')]);
                return Ok(Token::Set { negated, ranges });
            }
            high if high < low => return Err(FilterError::GlobRange { low, high }),
            high => ranges.push((low, high)),
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Plain(plain) => *plain == c,
            Self::One => true,
            Self::Any => false,
            Self::Set { negated, ranges } => ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated,
        }
    }
}

impl Glob {
    /// Whether the whole of `text` fits. Takes at most `text.len() * pattern.len()` steps: only the last `*` is ever
    /// tried again.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut token, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if let Some(Token::Any) = self.0.get(token) {
                token += 1;
                retry = Some((token, rest.clone()));
                continue;
            }
            match (self.0.get(token), rest.next()) {
                (None, None) => return true,
                (Some(t), Some(c)) if t.takes(c) => token += 1,
                _ => {
                    // The last `*` takes one more character.
                    let Some((after, mut from)) = retry else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    token = after;
                    rest = from.clone();
                    retry = Some((after, from));
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_the_shell() {
        for (pattern, text, fits) in [
            ("curl", "curl", true),
            ("curl", "curl2", false),
            ("cur", "curl", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "é", true),
            ("nginx*", "nginx: worker", true),
            ("*worker", "nginx: worker", true),
            ("*x*y*", "axbyc", true),
            ("*x*y", "axbyc", false),
            ("a*b*c", "abcbc", true),
            ("a*bc", "abcbd", false),
            ("**a", "a", true),
            ("a**", "a", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "ax", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"[\]]", "]", true),
            ("*a", "aaaaaaaaaaaaaaaaaaaaaab", false),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn agrees_with_a_plain_recursive_matcher() {
        fn slow(tokens: &[Token], text: &[char]) -> bool {
            match (tokens, text) {
                ([], []) => true,
                ([Token::Any, rest @ ..], _) => (0..=text.len()).any(|n| slow(rest, &text[n..])),
                ([t, rest @ ..], [c, tail @ ..]) => t.takes(*c) && slow(rest, tail),
                _ => false,
            }
        }
        let letters = ['a', 'b', '*', '?'];
        for pattern in 0..4_usize.pow(5) {
            let pattern: String = (0..5).map(|n| letters[pattern / 4_usize.pow(n) % 4]).collect();
            let glob: Glob = pattern.parse().unwrap();
            for length in 0..=6 {
                for text in 0..2_usize.pow(length) {
                    let text: Vec<char> = (0..length).map(|n| letters[text / 2_usize.pow(n) % 2]).collect();
                    let joined: String = text.iter().collect();
                    assert_eq!(glob.matches(&joined), slow(&glob.0, &text), "{pattern} {joined}");
                }
            }
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["", "[", "[a", "[]", "[!", "a\\", "[z-a]", "[a-"] {
            assert!(pattern.parse::<Glob>().is_err(), "{pattern}");
        }
    }
}
