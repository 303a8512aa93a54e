//! Sets of CPUs or NUMA nodes.

use crate::leaf::{Scalar, leaf, parsed, text_traits};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A set of numbers as libvirt writes it: `0-3,^2,8`; <https://libvirt.org/formatdomain.html#cpu-tuning>.
///
/// Kept as text, so that it is written as it was read.
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
    pub fn iter(&self, limit: u32) -> impl Iterator<Item = u32> {
        self.ranges().into_iter().flat_map(move |range| *range.start()..limit.min(range.end().saturating_add(1)))
    }

    /// The numbers as ranges with gaps between them, in rising order.
    #[must_use]
    pub fn ranges(&self) -> Vec<RangeInclusive<u32>> {
        let parts: Vec<_> = self.parts().collect();
        let ends = parts.iter().flat_map(|(_, first, last)| [*first, last.saturating_add(1)]);
        let bounds: Vec<u64> = ends.collect::<BTreeSet<_>>().into_iter().collect();
        // What comes later in the text counts, so it decides first; what is decided is stepped over.
        let mut inside = vec![false; bounds.len()];
        let mut open: BTreeSet<usize> = (0..bounds.len()).collect();
        for (added, first, last) in parts.iter().rev() {
            let start = bounds.partition_point(|bound| bound < first);
            let end = bounds.partition_point(|bound| bound <= last);
            while let Some(&segment) = open.range(start..end.max(start)).next() {
                open.remove(&segment);
                if let Some(inside) = inside.get_mut(segment) {
                    *inside = *added;
                }
            }
        }
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        let number = |bound: u64| u32::try_from(bound).unwrap_or(u32::MAX);
        for ((first, end), _) in bounds.iter().zip(bounds.iter().skip(1)).zip(inside).filter(|(_, inside)| *inside) {
            let (first, last) = (number(*first), number(end - 1));
            match ranges.last_mut() {
                Some(range) if range.end().checked_add(1) == Some(first) => *range = *range.start()..=last,
                _ => ranges.push(first..=last),
            }
        }
        ranges
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
        for number in numbers.into_iter().collect::<BTreeSet<_>>() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> CpuSet {
        text.parse().expect("a set")
    }

    #[test]
    fn what_comes_later_in_the_text_counts() {
        assert_eq!(set("0-3,^2,8").ranges(), [0..=1, 3..=3, 8..=8]);
        assert_eq!(set("^2,0-3").ranges(), [0..=3]);
        assert_eq!(set("0-3,4-6").ranges(), [0..=6]);
        assert_eq!(set("5-3,^1").ranges(), []);
        assert_eq!(set("7-99999999999").ranges(), [7..=u32::MAX]);
    }

    proptest! {
        #[test]
        fn ranges_hold_what_the_set_contains(text in "\\^?[0-9]{1,2}(-[0-9]{1,2})?(,(\\^[0-9]{1,2}|[0-9]{1,2}(-[0-9]{1,2})?)){0,8}") {
            prop_assume!(!text.starts_with('^') || !text.split(',').next().unwrap_or_default().contains('-'));
            let set = set(&text);
            let numbers: Vec<u32> = (0..120).filter(|number| set.contains(*number)).collect();
            prop_assert_eq!(set.iter(120).collect::<Vec<_>>(), &*numbers, "{}", text);
            let inside: Vec<u32> = set.ranges().into_iter().flatten().collect();
            prop_assert_eq!(inside, numbers);
        }
    }
}
