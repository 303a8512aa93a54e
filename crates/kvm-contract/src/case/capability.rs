//! What a host says that it can do.

use std::collections::BTreeSet;
use std::time::Duration;

use kvm_core::{AddressSource, ConsoleAccess, ErrorKind, Feature, PowerAction, Result, SnapshotSpec};

use crate::case::guest::ping;
use crate::case::{Failure, cases, holds, same};
use crate::cx::Cx;

cases! { CASES in "capabilities" on Cx;
    /// A host says what drives it, where it is and what kinds of guest it runs.
    async fn a_host_says_what_it_is(cx) {
        let host = cx.hypervisor().capabilities().await?;
        holds("the driver has a name", !host.driver.is_empty())?;
        holds("the target is given", !host.target.is_empty())?;
        holds("it runs some kind of guest", !host.guests.is_empty())
    }

    /// A host says the same each time; its key in locks does not change.
    async fn asking_twice_gives_the_same_answer(cx) {
        let first = cx.hypervisor().capabilities().await?;
        let second = cx.hypervisor().capabilities().await?;
        same("the host's key", second.host_key(), first.host_key())?;
        same("the features", second.features, first.features)
    }

    /// A family that the backend does not have is no feature of the host.
    async fn a_feature_has_its_facet(cx) {
        let host = cx.hypervisor();
        let features = host.capabilities().await?.features;
        for (facet, present, belong) in [
            ("guest", host.guest().is_some(), GUEST),
            ("console", host.console().is_some(), CONSOLE),
            ("snapshots", host.snapshots().is_some(), &[Feature::Snapshots]),
            ("block jobs", host.block_jobs().is_some(), &[Feature::BlockJobs]),
            ("checkpoints", host.checkpoints().is_some(), &[Feature::Checkpoints]),
        ] {
            let claimed: Vec<_> = belong.iter().filter(|feature| features.contains(feature)).collect();
            if !present && !claimed.is_empty() {
                return Err(Failure::new(format_args!("{claimed:?} without the facet {facet}")));
            }
        }
        Ok(())
    }

    /// What is claimed works on a machine that runs, and what is not claimed is unsupported: features tell the truth.
    async fn features_tell_the_truth(cx) {
        let features = cx.hypervisor().capabilities().await?.features;
        let told = probed().filter(|feature| features.contains(feature)).collect::<BTreeSet<_>>();
        let mut found = BTreeSet::new();
        for feature in probed() {
            if works(cx, feature).await? {
                found.insert(feature);
            }
        }
        same("features that work", found, told)
    }
}

const GUEST: &[Feature] =
    &[Feature::LeaseAddresses, Feature::AgentAddresses, Feature::ArpAddresses, Feature::AgentCommands];
const CONSOLE: &[Feature] = &[Feature::SerialConsole, Feature::Screenshot];

/// The features that a call can show. Of statistics, firmware and TPMs only figures and documents speak.
fn probed() -> impl Iterator<Item = Feature> {
    [Feature::ManagedSave, Feature::Reset, Feature::Snapshots, Feature::Checkpoints, Feature::BlockJobs]
        .into_iter()
        .chain(GUEST.iter().chain(CONSOLE).copied())
}

/// Whether the host knows how: any answer but `Unsupported` says so, also that an agent is silent.
async fn works(cx: &Cx, feature: Feature) -> Result<bool, Failure> {
    let host = cx.hypervisor();
    let word = format!("{feature:?}").to_lowercase();
    let id = if matches!(feature, Feature::Snapshots | Feature::BlockJobs) {
        cx.with_disk(&word).await?.0
    } else {
        cx.defined(&word).await?
    };
    cx.power(&id, PowerAction::Start).await?;
    let answer: Result<()> = match feature {
        Feature::ManagedSave => cx.power(&id, PowerAction::Save).await,
        Feature::Reset => cx.power(&id, PowerAction::Reset).await,
        Feature::LeaseAddresses => match host.guest() {
            Some(guest) => guest.addresses(&id, AddressSource::Lease).await.map(drop),
            None => return Ok(false),
        },
        Feature::AgentAddresses => match host.guest() {
            Some(guest) => guest.addresses(&id, AddressSource::Agent).await.map(drop),
            None => return Ok(false),
        },
        Feature::ArpAddresses => match host.guest() {
            Some(guest) => guest.addresses(&id, AddressSource::Arp).await.map(drop),
            None => return Ok(false),
        },
        Feature::AgentCommands => match host.guest() {
            Some(guest) => guest.ask_agent(&id, &ping()?, Duration::from_secs(1)).await.map(drop),
            None => return Ok(false),
        },
        Feature::SerialConsole => match host.console() {
            Some(console) => console.open_serial(&id, ConsoleAccess::Exclusive).await.map(drop),
            None => return Ok(false),
        },
        Feature::Screenshot => match host.console() {
            Some(console) => console.screenshot(&id, 0).await.map(drop),
            None => return Ok(false),
        },
        Feature::Snapshots => match host.snapshots() {
            Some(snapshots) => snapshots.create(&id, &SnapshotSpec::internal(cx.snapshot_name("first")?)).await,
            None => return Ok(false),
        },
        Feature::Checkpoints => match host.checkpoints() {
            Some(checkpoints) => checkpoints.list(&id).await.map(drop),
            None => return Ok(false),
        },
        Feature::BlockJobs => match host.block_jobs() {
            Some(jobs) => jobs.job(&id, &"vda".parse()?).await.map(drop),
            None => return Ok(false),
        },
        _ => return Err(Failure::new(format_args!("no call shows {feature:?}"))),
    };
    Ok(!answer.is_err_and(|e| e.kind() == ErrorKind::Unsupported))
}
