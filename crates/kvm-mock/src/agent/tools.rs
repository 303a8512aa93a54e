//! Programs of a simulated guest that work on its files.

use wildmatch::WildMatch;

use super::GuestFiles;

/// A program that a guest may lack.
pub(super) const KEY_PROGRAM: &str = "/usr/bin/ssh-keygen";

/// As the program of that name, with places first, names of which any may match, `-maxdepth`, `-size +0`, and the actions
/// `-print`, `-exec rm` and `-exec truncate -s 0`. Every file of a simulated guest is a regular one.
pub(super) fn find(disk: &mut GuestFiles, words: &[&str]) -> String {
    // There are no links to follow.
    let words = words.strip_prefix(&["-H"]).unwrap_or(words);
    let (places, rest) =
        words.split_at(words.iter().position(|word| word.starts_with(['-', '('])).unwrap_or(words.len()));
    let after = |option: &str| rest.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect::<Vec<_>>();
    let names: Vec<_> = after("-name").into_iter().map(WildMatch::new).collect();
    let depth = after("-maxdepth").first().and_then(|depth| depth.parse::<usize>().ok());
    let nonempty = after("-size") == ["+0"];
    let level = |path: &str| {
        let below = |place: &&&str| path == **place || path.starts_with(&format!("{}/", place.trim_end_matches('/')));
        places.iter().find(below).map(|place| path[place.len()..].matches('/').count())
    };
    let is_meant = |path: &str, content: &[u8]| {
        let name = path.rsplit('/').next().unwrap_or_default();
        level(path).is_some_and(|level| depth.is_none_or(|most| level <= most))
            && (names.is_empty() || names.iter().any(|pattern| pattern.matches(name)))
            && !(nonempty && content.is_empty())
    };
    let meant: Vec<_> =
        disk.files.iter().filter(|(path, content)| is_meant(path, content)).map(|(path, _)| path.clone()).collect();
    for path in &meant {
        match after("-exec").first() {
            Some(&"rm") => drop(disk.files.remove(path)),
            Some(&"truncate") => drop(disk.files.insert(path.clone(), Vec::new())),
            _ => {}
        }
    }
    meant.iter().map(|path| format!("{path}\n")).collect()
}

/// As `ssh-keygen -A`: makes the host keys that are missing.
pub(super) fn make_keys(disk: &mut GuestFiles, number: i64) {
    for end in ["", ".pub"] {
        let key = || format!("a key, number {number}{end}\n").into_bytes();
        disk.files.entry(format!("/etc/ssh/ssh_host_ed25519_key{end}")).or_insert_with(key);
    }
}
