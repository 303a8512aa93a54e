//! `clone.toml` as it is changed: what a person wrote around a key stays.

use std::fmt::Write as _;

use kvm_core::Result;
use toml_edit::{Item, Value};

use super::key::{self, KEYS, Key};
use super::read::parse;

/// The text with a key set, and what it was before.
pub(super) fn set(text: &str, key: &Key, mut value: Value) -> Result<(String, Option<serde_json::Value>)> {
    let mut document = parse(text)?;
    let section = document.entry(key.section).or_insert_with(toml_edit::table);
    let Some(table) = section.as_table_like_mut() else {
        let text = format!("{} is no section", key.section);
        return Err(kvm_core::Error::invalid("config", text).with_detail("change it in an editor"));
    };
    let before = table.get(key.name).and_then(Item::as_value).map(key::plain);
    match table.get_mut(key.name).and_then(Item::as_value_mut) {
        Some(old) => {
            // A comment behind it is part of how it is written.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(key.name, Item::Value(value));
        }
    }
    Ok((document.to_string(), before))
}

/// The text without a key, known or not, and what it was; `None` when it is not there.
pub(super) fn unset(text: &str, name: &str) -> Result<(String, Option<serde_json::Value>)> {
    let mut document = parse(text)?;
    let removed = match name.split_once('.') {
        Some((section, name)) => {
            document.get_mut(section).and_then(Item::as_table_like_mut).and_then(|table| table.remove(name))
        }
        None => document.remove(name),
    };
    let before = removed.map(|item| match item.as_value() {
        Some(value) => key::plain(value),
        None => item.to_string().trim().into(),
    });
    Ok((document.to_string(), before))
}

/// A file that explains every key and sets none.
pub(super) fn template() -> String {
    let mut text = String::from(
        "# What kvm-clone does where its command line does not say it. Every key is optional, and an unknown one is an\n\
         # error. kvm-clone config show says what holds.\n",
    );
    let mut section = "";
    for key in &KEYS {
        // Writing to a string cannot fail.
        if key.section != section {
            section = key.section;
            let _ok = write!(text, "\n[{section}]\n");
        }
        let _ok = write!(text, "# {}\n# {} = {}\n", key.what, key.name, key.example);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use kvm_core::ErrorKind;

    const TEXT: &str = "# mine\n[ssh]   # all of them\nport = 22 # usual\n\n[transfer]\ncompress = true\n";

    fn change(text: &str, name: &str, value: &str) -> Result<String> {
        let key = Key::named(name)?;
        let changed = set(text, key, key.read(value)?)?.0;
        Config::of(&changed).map(|_| changed)
    }

    #[test]
    fn a_key_is_set_and_all_else_stays() {
        let expected = TEXT.replace("22", "2222");
        assert_eq!(change(TEXT, "ssh.port", "2222").unwrap(), expected);
        let expected = TEXT.replace("true\n", "true\nbandwidth_limit = \"100M\"\n");
        assert_eq!(change(TEXT, "transfer.bandwidth_limit", "100M").unwrap(), expected);
        let expected = format!("{TEXT}\n[logging]\nlevel = \"warn\"\n");
        assert_eq!(change(TEXT, "logging.level", "warn").unwrap(), expected);
        assert_eq!(change("", "ssh.port", "22").unwrap(), "[ssh]\nport = 22\n");
        assert_eq!(change("ssh = {port = 1}\n", "ssh.port", "22").unwrap(), "ssh = {port = 22}\n");
    }

    #[test]
    fn a_key_is_taken_out_and_all_else_stays() {
        let (text, before) = unset(TEXT, "ssh.port").unwrap();
        assert_eq!(
            (text.as_str(), before),
            ("# mine\n[ssh]   # all of them\n\n[transfer]\ncompress = true\n", Some(22.into()))
        );
        assert_eq!(unset(TEXT, "ssh.key_path").unwrap(), (TEXT.to_owned(), None));
        // What nobody knows, so that the file can be read again.
        let (text, before) = unset("[ssh]\nprot = 1\n", "ssh.prot").unwrap();
        assert_eq!((text.as_str(), before), ("[ssh]\n", Some(1.into())));
        assert_eq!(unset("a = 1\n", "a").unwrap(), (String::new(), Some(1.into())));
    }

    #[test]
    fn values_are_checked_when_they_are_set_and_when_they_are_read() {
        for (key, bad) in [
            ("ssh.port", ["0", "65536", "x"]),
            ("ssh.key_path", ["", "relative", "/a\nb"]),
            ("transfer.compress", ["yes", "1", ""]),
            ("transfer.bandwidth_limit", ["3", "-1M", "1k"]),
            ("transfer.timeout", ["0", "soon", "-1"]),
            ("transfer.parallel", ["0", "17", "x"]),
            ("logging.level", ["INFO", "loud", ""]),
        ] {
            for value in bad {
                let e = change("", key, value).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::InvalidInput, "{key} {value:?}");
                assert!(e.detail().is_some_and(|detail| detail.contains(key)), "{key} {value:?}: {e} {:?}", e.detail());
            }
        }
        assert_eq!(change("", "transfer.parallel", "4").unwrap(), "[transfer]\nparallel = 4\n");
        for (text, named) in [
            ("[ssh]\nport = \"22\"\n", "ssh.port"),
            ("[ssh]\nport = 0\n", "port"),
            ("[transfer]\ncompress = \"true\"\n", "transfer.compress"),
            ("[transfer]\nparallel = 0\n", "parallel"),
            ("[ssh]\nprot = 22\n", "ssh.prot"),
            ("[ssh.port]\n", "ssh.port"),
            ("port = 22\n", "port"),
            ("[other]\nport = 22\n", "other.port"),
            ("[ssh\n", "cannot be read"),
        ] {
            let e = Config::of(text).unwrap_err();
            assert!(e.message().contains(named), "{text}: {e}");
        }
    }

    #[test]
    fn the_template_sets_nothing_and_its_examples_are_values() {
        let text = template();
        assert_eq!(change(&text, "ssh.port", "22").unwrap().replace("port = 22\n", ""), text);
        let examples: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting) if setting.contains(" = ") => format!("{setting}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::of(&examples).unwrap();
        assert!(KEYS.iter().all(|key| config.value(key).is_some()), "{examples}");
    }

    #[test]
    fn the_help_names_every_key() {
        for key in &KEYS {
            assert!(super::super::KEYS_HELP.contains(&key.to_string()), "{key}");
        }
    }
}
