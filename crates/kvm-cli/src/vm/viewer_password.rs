//! `kvmctl vm viewer-password`.

use std::io::IsTerminal as _;
use std::time::Duration;

use kvm_core::{Error, ErrorKind, Impact, Resource, Result, VmId};
use kvm_vm::{ScreenPassword, ScreenPasswordChange};
use kvm_xml::domain::GraphicsType;
use kvm_xml::value::DateTime;
use serde::Serialize;

use super::viewer::screen::Kind;
use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::prompt;
use crate::session::Session;
use crate::text;
use crate::vms::One;

/// Arguments of `vm viewer-password`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm viewer-password web\n  pass show web | kvmctl vm viewer-password web --expires 1h\n  \
        kvmctl vm viewer-password web --remove",
    after_long_help = "The password is asked for on the terminal, or read from the first line of standard input; never from an \
        argument, which others could see. VNC looks at eight characters.\n\n\
        A running VM takes another password when its screen was started with one. Otherwise set it with --only config, and it is \
        asked for from the next start.\n\n\
        Library: kvm_vm::set_screen_password"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// When the password ends, from now.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    expires: Option<Duration>,
    /// Ask for none any more, from the next start.
    #[arg(long, conflicts_with = "expires")]
    remove: bool,
    /// Which of several screens.
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Serialize)]
pub(super) struct PasswordSet {
    vm: String,
    id: VmId,
    kind: &'static str,
    password: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<String>,
    documents: Impact,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<PasswordSet> {
    let (connection, vm) = args.vm.find(session).await?;
    let password: Option<ScreenPassword> = match args.remove {
        true => None,
        false => Some(read(&vm.name).await?.parse()?),
    };
    let valid_to = args.expires.map(|after| moment(session, after)).transpose()?;
    let change = ScreenPasswordChange {
        kind: args.kind.map(|kind| match kind {
            Kind::Vnc => GraphicsType::Vnc,
            Kind::Spice => GraphicsType::Spice,
        }),
        password,
        valid_to: valid_to.clone(),
        impact: args.reach.impact(),
    };
    let set = kvm_vm::set_screen_password(&connection.host, &vm, &change).await;
    let (kind, documents) = set.map_err(|e| match e.kind() {
        // Whatever the host calls it, the way out is the same.
        ErrorKind::InvalidState => {
            let why = e.detail().unwrap_or("a running screen cannot begin to ask for one").to_owned();
            Error::new(e.kind(), e.message())
                .with_detail(why)
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .during("viewer-password")
                .with_source(e)
        }
        _ => e,
    })?;
    Ok(PasswordSet {
        vm: vm.name.into(),
        id: vm.id,
        kind: kind.as_str(),
        password: change.password.is_some(),
        valid_to: valid_to.map(|moment| format!("{}Z", moment.as_str())),
        documents,
    })
}

/// The password, from the terminal or the first line of standard input.
async fn read(vm: &kvm_core::VmName) -> Result<String> {
    if std::io::stdin().is_terminal() {
        let question = format!("Password for the screen of {}: ", kvm_core::text::printable(vm.as_str()));
        let secret = prompt::secret(&question).await?;
        let unanswered = || Error::new(ErrorKind::Cancelled, "no password was given");
        return Ok(secret.ok_or_else(unanswered)?.expose().to_owned());
    }
    let input = text::read_user_file(std::path::Path::new("-")).await?;
    Ok(input.lines().next().unwrap_or_default().to_owned())
}

/// A time from now, as libvirt reads it.
fn moment(session: &Session, after: Duration) -> Result<DateTime> {
    let far = || Error::invalid("expires", "the password would end in a time that no calendar knows");
    let end = session.clock.now().checked_add(after).map_err(|e| far().with_source(e))?;
    let text = end.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    text.parse().map_err(|e: kvm_xml::XmlError| far().with_source(e))
}

impl Outcome for PasswordSet {
    fn text(&self, page: &mut Page<'_>) {
        let (kind, vm, when) = (self.kind, &self.vm, when(self.documents));
        match (self.password, &self.valid_to) {
            (true, Some(end)) => page.done(format_args!("password of the {kind} screen of {vm} set until {end}{when}")),
            (true, None) => page.done(format_args!("password of the {kind} screen of {vm} set{when}")),
            (false, _) => page.done(format_args!("password of the {kind} screen of {vm} removed{when}")),
        }
    }
}
