//! Names of copies.

/// The longest name, in bytes; libvirt makes file names of it.
const LONGEST: usize = 200;
const SUFFIX: &str = "-clone";
/// More names than this are not taken; whoever says so says it of all.
const ATTEMPTS: u64 = 100_000;

/// The name of a clone: `foo` becomes `foo-clone`, `foo-clone` becomes `foo-clone1`, and the number grows as long as
/// the name is `taken`. If all are, the answer is the first of them.
///
/// ```
/// use kvm_xml::rewrite::clone_name;
///
/// assert_eq!(clone_name("foo", |_| false), "foo-clone");
/// assert_eq!(clone_name("foo-clone", |name| name == "foo-clone1"), "foo-clone2");
/// ```
#[must_use]
pub fn clone_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = name.rsplit_once(SUFFIX).and_then(|(base, digits)| match digits {
        "" => Some((base, 1)),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((base, digits.parse::<u64>().ok()?.checked_add(1)?))
        }
        _ => None,
    });
    let (base, first) = numbered.unwrap_or((name, 0));
    let name = |number: u64| {
        let end = if number == 0 { SUFFIX.to_owned() } else { format!("{SUFFIX}{number}") };
        format!("{}{end}", &base[..base.floor_char_boundary(LONGEST - end.len())])
    };
    (first..first.saturating_add(ATTEMPTS)).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(first))
}

/// The file name that a copy has: `old`, the machine's name, is replaced by `new` where the file is named after the
/// machine, else `new` is put before it. `foo.qcow2` becomes `bar.qcow2`, `data.img` becomes `bar-data.img`.
///
/// ```
/// use kvm_xml::rewrite::copy_name;
///
/// assert_eq!(copy_name("foo_VARS.fd", "foo", "bar"), "bar_VARS.fd");
/// assert_eq!(copy_name("foolish.img", "foo", "bar"), "bar-foolish.img");
/// ```
#[must_use]
pub fn copy_name(file: &str, old: &str, new: &str) -> String {
    match named_after(file, old) {
        Some(at) => format!("{}{new}{}", &file[..at], &file[at + old.len()..]),
        None => format!("{new}-{file}"),
    }
}

/// Where in a file name the machine's name stands as a word of its own.
pub(super) fn named_after(file: &str, machine: &str) -> Option<usize> {
    let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    file.match_indices(machine)
        .filter(|_| !machine.is_empty())
        .map(|(at, _)| at)
        .find(|&at| !joins(file[..at].chars().next_back()) && !joins(file[at + machine.len()..].chars().next()))
}

/// The name with a number before its extension: `foo.img` and 2 make `foo-2.img`.
pub(super) fn numbered(file: &str, number: usize) -> String {
    match file.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{number}.{extension}"),
        _ => format!("{file}-{number}"),
    }
}

/// The part of a file name from the last dot on, or nothing.
pub(super) fn extension(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rfind('.').filter(|&dot| dot > 0).map_or("", |dot| &file[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clones_count_on() {
        let free = |_: &str| false;
        assert_eq!(clone_name("foo-clone9", free), "foo-clone10");
        assert_eq!(clone_name("foo-clones", free), "foo-clones-clone");
        assert_eq!(clone_name("-clone", free), "-clone1");
        assert_eq!(clone_name("foo", |_| true), "foo-clone");
        assert_eq!(clone_name("foo", |name| name != "foo-clone3"), "foo-clone3");
        assert_eq!(clone_name("foo-clone99999999999999999999", free), "foo-clone99999999999999999999-clone");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = clone_name(&"ö".repeat(150), |_| false);
        assert!(name.len() <= LONGEST && name.ends_with("ö-clone"), "{name}");
    }

    #[test]
    fn a_file_is_renamed_where_the_machine_is_a_word_of_its_name() {
        assert_eq!(copy_name("foo-clone.qcow2", "foo-clone", "foo-clone1"), "foo-clone1.qcow2");
        assert_eq!(copy_name("old_foo-1.img", "foo", "bar"), "old_bar-1.img");
        assert_eq!(copy_name("ofoo.img", "foo", "bar"), "bar-ofoo.img");
        assert_eq!(copy_name("disk.img", "", "bar"), "bar-disk.img");
        assert_eq!(copy_name("föo.img", "f", "bar"), "bar-föo.img");
    }

    #[test]
    fn a_number_stands_before_the_extension() {
        assert_eq!(numbered("a.b.img", 2), "a.b-2.img");
        assert_eq!(numbered(".img", 2), ".img-2");
        assert_eq!(extension("/a.b/c"), "");
        assert_eq!(extension("/a/c.fd"), ".fd");
    }
}
