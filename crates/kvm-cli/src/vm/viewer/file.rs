//! Viewer files (`.vv`), as remote-viewer reads them.

use kvm_core::VmName;

use super::screen::{Kind, Reached};

/// What the file says of a screen.
pub(super) struct ViewerFile<'a> {
    pub(super) vm: &'a VmName,
    pub(super) kind: Kind,
    pub(super) reached: &'a Reached,
    pub(super) password: Option<&'a str>,
    /// Whether the viewer takes the file away once it has read it.
    pub(super) passing: bool,
}

impl ViewerFile<'_> {
    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "[virt-viewer]\ntype={}\nhost={}\nport={}\ntitle={}\n",
            self.kind.as_str(),
            self.reached.host.as_str(),
            self.reached.port,
            value(self.vm.as_str())
        );
        if let Some(password) = self.password {
            text += &format!("password={}\n", value(password));
        }
        text + &format!("delete-this-file={}\n", u8::from(self.passing))
    }
}

/// A value of a key file (GLib's `GKeyFile`): what would end the line or be cut off is written with a backslash.
fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            ' ' if at == 0 => out.push_str("\\s"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_password_stays_one_value() {
        let reached = Reached { host: "fe80::1%eth0".parse().unwrap(), port: "5900".parse().unwrap(), relay: None };
        let vm = VmName::parse("a=b [c]").unwrap();
        let file =
            ViewerFile { vm: &vm, kind: Kind::Vnc, reached: &reached, password: Some(" a\\\nhost=x"), passing: true };
        assert_eq!(
            file.to_text(),
            "[virt-viewer]\ntype=vnc\nhost=fe80::1%eth0\nport=5900\ntitle=a=b [c]\npassword=\\sa\\\\\\nhost=x\n\
             delete-this-file=1\n"
        );
        assert!(!ViewerFile { password: None, passing: false, ..file }.to_text().contains("password"));
    }
}
