//! `kvmctl guest info`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::guest::{AgentInfo, FreezeState, OsInfo, TimeZone};
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `guest info`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest info web\n  kvmctl guest info web -o json | jq -r .agent.version",
    after_long_help = "What the agent of this guest does not know, or may not tell now, is left open.\n\n\
        Library: kvm_vm::guest::Agent::info, ::os_info, ::host_name, ::time_zone, ::freeze_state"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Info {
    name: String,
    id: String,
    agent: AgentInfo,
    os: Option<OsInfo>,
    host_name: Option<String>,
    time_zone: Option<TimeZone>,
    file_systems: Option<FreezeState>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Info> {
    let (agent, vm) = agent(&args.vm, session).await?;
    Ok(Info {
        id: vm.id.to_string(),
        name: vm.name.into(),
        agent: agent.info().await?,
        os: if_known(agent.os_info().await)?,
        host_name: if_known(agent.host_name().await)?,
        time_zone: if_known(agent.time_zone().await)?,
        file_systems: if_known(agent.freeze_state().await)?,
    })
}

/// What an agent can tell. One that cannot is no error.
fn if_known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidState) => Ok(None),
        answer => answer.map(Some),
    }
}

impl Outcome for Info {
    fn text(&self, page: &mut Page<'_>) {
        let os = self.os.as_ref();
        let zone = self.time_zone.as_ref().map(|zone| {
            let (sign, minutes) = (if zone.offset_seconds < 0 { '-' } else { '+' }, zone.offset_seconds.abs() / 60);
            let offset = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            zone.name.as_ref().map_or_else(|| offset.clone(), |name| format!("{name} ({offset})"))
        });
        let state = self.file_systems.map(|state| match state {
            FreezeState::Thawed => "take writes".to_owned(),
            FreezeState::Frozen => "frozen: kvmctl guest thaw lets them go on".to_owned(),
        });
        page.fields(&[
            ("host name", self.host_name.clone()),
            ("system", os.and_then(|os| os.pretty_name.clone().or_else(|| os.name.clone()))),
            ("kernel", os.and_then(|os| os.kernel_release.clone())),
            ("architecture", os.and_then(|os| os.machine.clone())),
            ("time zone", zone),
            ("file systems", state),
            ("agent", Some(format!("{}, {} commands", self.agent.version, self.agent.commands.len()))),
        ]);
    }
}
