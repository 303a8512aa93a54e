//! Users of a guest: passwords and SSH keys.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use kvm_core::text::printable_within;
use kvm_core::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::bounded::Few;
use super::{Agent, QUICK, SLOW};

/// The longest password that is sent.
const LONGEST_PASSWORD: usize = 1024;
/// The longest line of a key file that is sent.
const LONGEST_KEY: usize = 16 << 10;

/// A user of a guest: at most 256 bytes without control characters, colons and slashes. In Windows also with spaces,
/// and with a domain in front (`DOMAIN\user`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestUser(String);

impl GuestUser {
    /// Takes a user. `InvalidInput`.
    pub fn parse(text: &str) -> Result<Self> {
        let is_user = !text.is_empty()
            && text.len() <= 256
            && !text.starts_with(['-', ' '])
            && !text.chars().any(|c| c.is_control() || matches!(c, ':' | '/'));
        if is_user {
            return Ok(Self(text.to_owned()));
        }
        let shown = printable_within(text, 48);
        Err(Error::invalid("user", format!("\"{shown}\" is no user: 1 to 256 bytes without ':', '/' and controls")))
    }

    /// The user.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for GuestUser {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// A line of a file of authorized keys, without options: the kind, the key in base64, perhaps a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey(String);

impl AuthorizedKey {
    /// Takes a line, as `ssh-keygen` writes it. `InvalidInput` for anything else, a private key among others.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let refuse = |why: &str| Err(Error::invalid("key", format!("the SSH key {why}")));
        if text.len() > LONGEST_KEY {
            return refuse("is longer than 16 KiB");
        }
        if text.starts_with("-----BEGIN") {
            return refuse("is a private one; give the file that ends in .pub");
        }
        if text.chars().any(char::is_control) {
            return refuse("has more than one line, or control characters");
        }
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            return refuse("is not a kind, a key in base64 and a comment");
        };
        // The key begins with its kind again, behind its length.
        let decoded = BASE64.decode(key.as_bytes()).unwrap_or_default();
        let named = decoded
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
        if named != Some(kind.as_bytes()) {
            return refuse("does not hold what its kind says");
        }
        Ok(Self(text.to_owned()))
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuthorizedKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// How a password is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// As its user types it.
    Plain,
    /// As the guest stores it: in the form of `crypt(3)`.
    Crypted,
}

/// What becomes of the keys that are there when others are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// They stay.
    Keep,
    /// They go.
    Replace,
}

impl Agent {
    /// Sets a user's password. It stands in no log and no journal of ours; the host's libvirt sees it.
    ///
    /// `InvalidInput` when it is empty, longer than 1024 bytes, or has a line end, a NUL or, when crypted, a colon.
    pub async fn set_password(&self, user: &GuestUser, password: &str, form: PasswordForm) -> Result<()> {
        let is_crypted = form == PasswordForm::Crypted;
        let is_harmful = |c: char| matches!(c, '\n' | '\r' | '\0') || (is_crypted && c == ':');
        if password.is_empty() || password.len() > LONGEST_PASSWORD || password.contains(is_harmful) {
            let rule = "a password has 1 to 1024 bytes, without line ends; a crypted one has no colon";
            return Err(Error::invalid("password", rule));
        }
        let password = BASE64.encode(password.as_bytes());
        let arguments = json!({ "username": user.as_str(), "password": password, "crypted": is_crypted });
        self.tell("guest-set-user-password", &arguments, SLOW).await
    }

    /// Lists the keys with which a user can log in over SSH, as they stand in the guest.
    pub async fn ssh_keys(&self, user: &GuestUser) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Form {
            keys: Few<String, 4096>,
        }
        let arguments = json!({ "username": user.as_str() });
        let Form { keys } = self.ask("guest-ssh-get-authorized-keys", &arguments, QUICK).await?;
        Ok(keys.0)
    }

    /// Lets a user log in with these keys, too. Those that are there already are not added again.
    pub async fn add_ssh_keys(&self, user: &GuestUser, keys: &[AuthorizedKey], reset: Reset) -> Result<()> {
        let keys: Vec<_> = keys.iter().map(AuthorizedKey::as_str).collect();
        let arguments = json!({ "username": user.as_str(), "keys": keys, "reset": reset == Reset::Replace });
        self.tell("guest-ssh-add-authorized-keys", &arguments, QUICK).await
    }

    /// Takes keys from a user. Those that are not there are no error.
    pub async fn remove_ssh_keys(&self, user: &GuestUser, keys: &[AuthorizedKey]) -> Result<()> {
        let keys: Vec<_> = keys.iter().map(AuthorizedKey::as_str).collect();
        let arguments = json!({ "username": user.as_str(), "keys": keys });
        self.tell("guest-ssh-remove-authorized-keys", &arguments, QUICK).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJk8g0rOTBHrFyVGwGMA8fP7nKwIpbN4n2RBYKZKJqgM me@here";

    #[test]
    fn a_key_is_one_public_line() {
        assert_eq!(AuthorizedKey::parse(&format!("{KEY}\n")).unwrap().as_str(), KEY);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!!",
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            &format!("{KEY}\nssh-rsa x"),
            &format!("command=\"x\" {KEY}"),
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(AuthorizedKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_user_is_a_name_alone() {
        for good in ["root", "DOMAIN\\user", "Erika Mustermann", "user$"] {
            assert_eq!(GuestUser::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-r", "a:b", "a/b", "a\nb", &"x".repeat(257)] {
            assert!(GuestUser::parse(bad).is_err(), "{bad:?}");
        }
    }
}
