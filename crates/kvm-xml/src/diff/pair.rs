//! Which items of two lists are the same one.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Positions in the list of before and in that of after; one of them is missing where an item went or came.
pub(super) type Pair = (Option<usize>, Option<usize>);

/// Pairs the items of two lists: those with one key, in their order, those without a key likewise. Pairs and what went
/// are in the order of before, what came follows.
///
/// Among items that share a key, those that say the same are the same one, so that one which is taken out of the middle
/// is the only difference.
pub(super) fn pair<T>(
    before: &[T],
    after: &[T],
    key: impl Fn(&T) -> Option<String>,
    form: impl Fn(&T) -> String,
) -> Vec<Pair> {
    let mut groups: BTreeMap<Option<String>, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (position, item) in before.iter().enumerate() {
        groups.entry(key(item)).or_default().0.push(position);
    }
    for (position, item) in after.iter().enumerate() {
        groups.entry(key(item)).or_default().1.push(position);
    }
    let mut pairs = Vec::with_capacity(before.len().max(after.len()));
    for (old, new) in groups.into_values() {
        if old.len().max(new.len()) == 1 {
            pairs.push((old.first().copied(), new.first().copied()));
        } else {
            let forms = |list: &[T], positions: &[usize]| -> Vec<String> {
                positions.iter().filter_map(|position| list.get(*position)).map(&form).collect()
            };
            let aligned = align(&forms(before, &old), &forms(after, &new));
            pairs.extend(aligned.into_iter().map(|(a, b)| (at(&old, a).copied(), at(&new, b).copied())));
        }
    }
    pairs.sort_by_key(|(old, new)| (old.unwrap_or(usize::MAX), *new));
    pairs
}

/// The item at a position, if there is one.
pub(super) fn at<T>(list: &[T], position: Option<usize>) -> Option<&T> {
    list.get(position?)
}

/// Aligns two lists: what is equal and in order belongs together, what stands between is paired by its position.
fn align(before: &[String], after: &[String]) -> Vec<Pair> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (old, new) = (before.get(head..).unwrap_or_default(), after.get(head..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (position, form) in after.iter().enumerate().take(after.len() - tail).skip(head) {
        places.entry(form).or_default().push_back(position);
    }
    let mut pairs: Vec<Pair> = (0..head).map(|position| (Some(position), Some(position))).collect();
    let (mut i, mut j) = (head, head);
    for (position, form) in before.iter().enumerate().take(before.len() - tail).skip(head) {
        // The next one that says the same; those before it are taken.
        let Some(places) = places.get_mut(form.as_str()) else { continue };
        while places.front().is_some_and(|place| *place < j) {
            places.pop_front();
        }
        if let Some(place) = places.pop_front() {
            gap(i..position, j..place, &mut pairs);
            pairs.push((Some(position), Some(place)));
            (i, j) = (position + 1, place + 1);
        }
    }
    let (end, new_end) = (before.len() - tail, after.len() - tail);
    gap(i..end, j..new_end, &mut pairs);
    pairs.extend((0..tail).map(|offset| (Some(end + offset), Some(new_end + offset))));
    pairs
}

fn gap(mut before: std::ops::Range<usize>, mut after: std::ops::Range<usize>, pairs: &mut Vec<Pair>) {
    loop {
        match (before.next(), after.next()) {
            (None, None) => return,
            pair => pairs.push(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aligned(before: &str, after: &str) -> Vec<Pair> {
        let list = |text: &str| text.chars().map(|c| c.to_string()).collect::<Vec<_>>();
        align(&list(before), &list(after))
    }

    #[test]
    fn one_that_is_taken_out_of_the_middle_is_the_only_difference() {
        assert_eq!(aligned("abc", "ac"), [(Some(0), Some(0)), (Some(1), None), (Some(2), Some(1))]);
        assert_eq!(aligned("aba", "aa"), [(Some(0), Some(0)), (Some(1), None), (Some(2), Some(1))]);
    }

    #[test]
    fn several_that_come_and_go_leave_the_others_alone() {
        let pairs = aligned("abcdef", "bxdfg");
        assert_eq!(pairs.iter().filter(|pair| matches!(pair, (Some(_), Some(_)))).count(), 4, "{pairs:?}");
        assert!(pairs.contains(&(Some(1), Some(0))) && pairs.contains(&(Some(3), Some(2))), "{pairs:?}");
    }

    #[test]
    fn what_is_in_another_place_went_and_came() {
        assert_eq!(aligned("ab", "ba"), [(None, Some(0)), (Some(0), Some(1)), (Some(1), None)]);
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_pair(before in "[a-d]{0,12}", after in "[a-d]{0,12}") {
            let pairs = aligned(&before, &after);
            let mut old: Vec<_> = pairs.iter().filter_map(|pair| pair.0).collect();
            let mut new: Vec<_> = pairs.iter().filter_map(|pair| pair.1).collect();
            old.sort_unstable();
            new.sort_unstable();
            prop_assert_eq!(old, (0..before.len()).collect::<Vec<_>>());
            prop_assert_eq!(new, (0..after.len()).collect::<Vec<_>>());
        }
    }
}
