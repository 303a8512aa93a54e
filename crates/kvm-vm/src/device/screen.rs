//! Passwords of screens.

use std::fmt;
use std::str::FromStr;

use kvm_core::{Device, DeviceRef, Error, ErrorKind, Host, Impact, Resource, Result, VmSummary, Which};
use kvm_xml::domain::GraphicsType;
use kvm_xml::value::DateTime;

use super::{Subject, facet};

/// The longest password of SPICE.
const LONGEST: usize = 60;
/// VNC looks at so many characters and no further.
const LONGEST_VNC: usize = 8;

/// The password of a screen: printable ASCII, as every viewer sends it the same. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ScreenPassword(String);

impl FromStr for ScreenPassword {
    type Err = Error;

    /// `InvalidInput` for one that is empty, longer than 60 characters, or not of printable ASCII.
    fn from_str(text: &str) -> Result<Self> {
        let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if text.is_empty() || text.len() > LONGEST || !is_plain {
            let why = format!("a screen's password is 1 to {LONGEST} characters of printable ASCII");
            return Err(Error::invalid("password", why));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ScreenPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScreenPassword(…)")
    }
}

/// How the password of a screen changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScreenPasswordChange {
    /// Which screen; without it the first one that is VNC or SPICE.
    pub kind: Option<GraphicsType>,
    /// The new one; `None` asks for none any more.
    pub password: Option<ScreenPassword>,
    /// When it ends, in UTC; without it never.
    pub valid_to: Option<DateTime>,
    /// The documents; without it both, as far as they are there.
    pub impact: Option<Impact>,
}

/// Sets the password of a screen, or takes it away; gives the screen's kind and the documents that changed.
///
/// A running screen takes another password when it was started with one: else `InvalidState`, and one that was started with
/// a password asks for it until it stops. `NotFound` when there is no such screen, `InvalidInput` for more than the eight
/// characters that VNC looks at.
pub async fn set_screen_password(
    host: &Host,
    vm: &VmSummary,
    change: &ScreenPasswordChange,
) -> Result<(GraphicsType, Impact)> {
    let impact = match (&change.password, change.impact) {
        (None, Some(Impact::Live | Impact::Both)) => {
            let text = "a running screen asks for its password until it stops; take it out of the configuration";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        (None, None) => Some(Impact::Config),
        (_, asked) => asked,
    };
    let subject = Subject::read(host, vm, impact).await?;
    let kind = change.kind.or_else(|| subject.first_screen()).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("VM {} has no VNC or SPICE screen", vm.name))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
    })?;
    let password = change.password.as_ref().map(|password| password.0.clone());
    if kind == GraphicsType::Vnc && password.as_ref().is_some_and(|password| password.len() > LONGEST_VNC) {
        let why = format!("VNC looks at the first {LONGEST_VNC} characters of a password only; choose a shorter one");
        return Err(Error::invalid("password", why));
    }
    let found = subject.find(&DeviceRef::Graphics(kind))?;
    // Each document keeps its own ports. What runs comes first: it is more likely to refuse.
    for (which, impact, device) in
        [(Which::Live, Impact::Live, found.live), (Which::Config, Impact::Config, found.config)]
    {
        let Some(Device::Graphics(mut screen)) = device.filter(|_| subject.impact.reaches(which)) else { continue };
        screen.passwd.clone_from(&password);
        screen.passwd_valid_to = change.valid_to.clone().filter(|_| password.is_some());
        facet(host)?.update(&vm.id, &Device::Graphics(screen), impact).await?;
    }
    Ok((kind, subject.impact))
}

impl Subject<'_> {
    fn first_screen(&self) -> Option<GraphicsType> {
        let screens = self.documents().flat_map(|document| &document.devices).flat_map(|devices| &devices.graphics);
        screens.filter_map(|screen| screen.r#type).find(|kind| matches!(kind, GraphicsType::Vnc | GraphicsType::Spice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_every_viewer_sends_the_same() {
        assert_eq!(format!("{:?}", "a b~".parse::<ScreenPassword>().unwrap()), "ScreenPassword(…)");
        for text in ["", "a\nb", "pässwort", &"x".repeat(61)] {
            let e = text.parse::<ScreenPassword>().unwrap_err();
            assert_eq!(e.resource(), Some(&Resource::Field("password".into())), "{text:?}");
        }
    }
}
