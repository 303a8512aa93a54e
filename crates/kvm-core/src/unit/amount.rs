//! The grammar of an amount: a plain decimal number, then a unit, nothing else.

/// A number as written, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount<'a> {
    whole: u64,
    /// The digits after the point; empty when there is no point.
    fraction: &'a str,
    /// What follows the number; may be empty.
    pub(super) unit: &'a str,
}

/// More digits after the point than make sense to write.
const FRACTION_MAX: usize = 9;

impl<'a> Amount<'a> {
    /// Splits a text; the error says what is wrong with the number. ASCII digits only, no sign, no leading zero, no
    /// exponent, no separators, no spaces: what tools read in different ways is refused.
    pub(super) fn split(text: &'a str) -> Result<Self, &'static str> {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) = text.split_at(digits(text));
        let (fraction, unit) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        if text.is_empty() {
            Err("is empty; write a number")
        } else if whole.is_empty() {
            Err("does not start with a digit; write a plain number")
        } else if whole.len() > 1 && whole.starts_with('0') {
            Err("starts with a zero, which may mean octal; leave it out")
        } else if rest.starts_with('.') && !(1..=FRACTION_MAX).contains(&fraction.len()) {
            Err("has no proper digits after its point; write at most nine")
        } else {
            whole.parse().map(|whole| Self { whole, fraction, unit }).map_err(|_| TOO_LARGE)
        }
    }

    /// Whether it is a whole number without a unit.
    pub(super) fn is_bare(&self) -> bool {
        self.unit.is_empty() && self.fraction.is_empty()
    }

    /// Whether it has digits after a point.
    pub(super) fn has_fraction(&self) -> bool {
        !self.fraction.is_empty()
    }

    /// The amount in units of `multiplier / divisor`, rounded up; `None` when it does not fit.
    pub(super) fn scaled(&self, multiplier: u64, divisor: u64) -> Option<u64> {
        let scale = 10_u128.pow(u32::try_from(self.fraction.len()).ok()?);
        let fraction: u128 = if self.fraction.is_empty() { 0 } else { self.fraction.parse().ok()? };
        let number = u128::from(self.whole) * scale + fraction;
        let scaled = number.checked_mul(multiplier.into())?.div_ceil(scale * u128::from(divisor));
        u64::try_from(scaled).ok()
    }
}

/// Said of every amount that no number of ours can hold.
pub(super) const TOO_LARGE: &str = "is too large";

/// Bytes in a unit of storage: `K`, `KiB` binary, `KB` decimal, up to `E`; a single letter also in lower case.
pub(super) fn bytes_in(unit: &str) -> Option<u64> {
    let prefix = unit.chars().next()?;
    if unit == "B" {
        return Some(1);
    }
    let (base, prefix) = match &unit[prefix.len_utf8()..] {
        "" => (1024_u64, prefix.to_ascii_uppercase()),
        "iB" => (1024, prefix),
        "B" if prefix == 'k' => (1000, 'K'),
        "B" => (1000, prefix),
        _ => return None,
    };
    let power = "KMGTPE".find(prefix)? + 1;
    base.checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_unless_they_end_in_a_plain_b() {
        for (unit, bytes) in [("B", 1), ("K", 1024), ("k", 1024), ("KiB", 1024), ("KB", 1000), ("kB", 1000)] {
            assert_eq!(bytes_in(unit), Some(bytes), "{unit}");
        }
        assert_eq!(bytes_in("E"), Some(1 << 60));
        for unit in ["", "Z", "Gb", "gb", "gib", "GiBs", "b", "é"] {
            assert_eq!(bytes_in(unit), None, "{unit}");
        }
    }

    #[test]
    fn fractions_are_exact_and_rounded_up() {
        let amount = |text| Amount::split(text).unwrap();
        assert_eq!(amount("1.5G").scaled(1 << 30, 1), Some(3 << 29));
        assert_eq!(amount("0.1").scaled(1, 1), Some(1));
        assert_eq!(amount("1").scaled(1, 8), Some(1));
        assert_eq!(amount("18446744073709551615").scaled(1, 1), Some(u64::MAX));
        assert_eq!(amount("18446744073709551615").scaled(1024, 1), None);
        assert_eq!(Amount::split("18446744073709551616"), Err(TOO_LARGE));
    }
}
