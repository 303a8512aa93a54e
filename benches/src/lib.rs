//! What the measurements share: made-up worlds of a given size, an SSH server, and medians.

#![forbid(unsafe_code)]

pub mod sshd;
pub mod xml;

use std::fmt::Write as _;
use std::time::Duration;

/// A node file for libvirt's test driver with this many domains, the first third of them running.
#[must_use]
pub fn node_file(domains: usize) -> String {
    let mut xml = String::from("<?xml version='1.0'?>\n<node>\n");
    for i in 0..domains {
        let state = if i * 3 < domains { 1 } else { 5 };
        let _infallible = write!(
            xml,
            "  <domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>\n    <name>vm-{i:04}</name>\n    \
             <uuid>6695eb01-f6a4-8304-79aa-{i:012x}</uuid>\n    <memory unit='MiB'>{}</memory>\n    <vcpu>{}</vcpu>\n    \
             <os><type>hvm</type></os>\n    <test:runstate>{state}</test:runstate>\n  </domain>\n",
            256 << (i % 6),
            1 + i % 16,
        );
    }
    xml.push_str("</node>\n");
    xml
}

/// The middle of some durations, and their spread: the middle half lies between the other two.
#[must_use]
pub fn quartiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort();
    [1, 2, 3].map(|q| times.get(times.len() * q / 4).or(times.last()).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_an_odd_number_are_elements() {
        let ms = |n| Duration::from_millis(n);
        assert_eq!(quartiles(vec![ms(5), ms(1), ms(9), ms(3), ms(7)]), [ms(3), ms(5), ms(7)]);
    }

    #[test]
    fn a_node_file_has_as_many_domains_as_asked_for() {
        assert_eq!(node_file(12).matches("</domain>").count(), 12);
    }
}
