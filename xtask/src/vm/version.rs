//! Versions of kernels, for comparison.

/// The numbers in a kernel's version, in their order: `6.12.94+deb13` is 6, 12, 94, 13.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// Parses `text`; everything but digits separates numbers.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect())
    }

    /// Whether it belongs to `series`: 6.12.94 is of 6.12 and of 6.
    #[must_use]
    pub fn is_of(&self, series: &Self) -> bool {
        self.0.starts_with(&series.0)
    }

    /// Major and minor.
    #[must_use]
    pub fn series(&self) -> (u64, u64) {
        let at = |i: usize| self.0.get(i).copied().unwrap_or_default();
        (at(0), at(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version::of("7.2.11+deb13") > Version::of("7.2.9+deb13"));
        assert!(Version::of("5.10.0-32") > Version::of("5.10.0-9"));
        assert!(Version::of("6.12.94+deb13").is_of(&Version::of("6.12")));
        assert!(!Version::of("6.12.94+deb13").is_of(&Version::of("6.1")));
        assert_eq!(Version::of("7.3.4+deb13-cloud-amd64").series(), (7, 3));
    }
}
