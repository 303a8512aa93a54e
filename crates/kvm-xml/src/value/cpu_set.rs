//! Sets of CPUs or NUMA nodes.

use crate::leaf::{Scalar, leaf, parsed, text_traits};

/// A set of numbers as libvirt writes it: `0-3,^2,8`. Kept as text, so that it is written as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CpuSet(String);

impl CpuSet {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `number` is in it. What comes later in the text counts, so `^2` takes out a 2 of before.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let number = u64::from(number);
        let last = self.parts().filter(|(_, first, last)| (*first..=*last).contains(&number)).last();
        last.is_some_and(|(added, ..)| added)
    }

    /// The numbers below `limit`, in rising order.
    pub fn iter(&self, limit: u32) -> impl Iterator<Item = u32> + '_ {
        (0..limit).filter(|number| self.contains(*number))
    }

    /// Ranges, and whether they are added or taken out.
    fn parts(&self) -> impl Iterator<Item = (bool, u64, u64)> + '_ {
        self.0.split(',').filter_map(part)
    }
}

/// Reads `3`, `0-3` or `^2`.
fn part(text: &str) -> Option<(bool, u64, u64)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that has no room is as good as the largest: no host has so many CPUs.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if let Some(gone) = text.strip_prefix('^') {
        return number(gone).map(|number| (false, number, number));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((true, number(first)?, number(last)?))
}

impl FromIterator<u32> for CpuSet {
    /// Writes neighbours as a range.
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers.into_iter().collect::<std::collections::BTreeSet<_>>() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let range =
            |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        Self(ranges.into_iter().map(range).collect::<Vec<_>>().join(","))
    }
}

leaf!(CpuSet, |set| Scalar::Str(&set.0), |text: &str, _| {
    let set = Some(text.trim()).filter(|text| text.split(',').all(|text| part(text).is_some()));
    parsed(text, set.map(|text| Self(text.to_owned())), "a set of numbers such as 0-3,^2")
});
text_traits!(CpuSet);
