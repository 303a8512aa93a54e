//! A new identity inside: what a plan says, what comes of it, and that nothing of the start is left.

use std::time::Duration;

use kvm_clone::{Outcome, Part, SysprepPlan, SysprepSpec, plan_sysprep};
use kvm_core::op::RunContext;
use kvm_core::{Clock as _, ErrorKind, Existing, PowerAction, Result, Silent, View, VmRef, VmState};
use kvm_mock::{GuestAction, Method};
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, said};

impl Pair {
    /// Plans to prepare a machine of the first host.
    async fn sysprep(&self, vm: &str, spec: &SysprepSpec) -> Result<SysprepPlan> {
        plan_sysprep(&self.here, &self.vm(vm).await, spec, &self.cx()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_is_changed_inside_and_what_stays() {
    let pair = Pair::new().await.unwrap();
    let keep = [Part::Logs].into();
    let planned = pair.sysprep("web", &SysprepSpec { keep, ..SysprepSpec::default() }).await.unwrap();
    let id = pair.vm("web").await.id.to_string().replace('-', "");
    let shown = planned.plan.to_string();
    for line in [
        "transient, no link on its network devices, until its agent answers, at most 300 s",
        &format!("to {id}"),
        "to web",
        "new ones, made inside by ssh-keygen",
        "keep",
        "users, passwords, authorized keys, certificates and data inside stay as they are",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    // It runs on its own images, and is somebody else to the host.
    let devices = planned.document.devices.as_ref().unwrap();
    let images: Vec<_> = devices.disk.iter().map(|disk| disk.source.as_ref().unwrap().file.clone().unwrap()).collect();
    assert_eq!(images, ["/images/web.qcow2", "/images/data.raw"]);
    let name = planned.document.name.clone().unwrap();
    assert!(name.starts_with("web-sysprep-"), "{name}");
    assert!(planned.report.parts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_prepared_shut_down_and_nothing_of_the_start_is_left() {
    let pair = Pair::new().await.unwrap();
    let before = pair.pictures().await.unwrap();
    let name = Some("inside.lab".parse().unwrap());
    let planned = pair.sysprep("web", &SysprepSpec { host_name: name, ..SysprepSpec::default() }).await.unwrap();
    pair.run_at(planned.plan, &pair.here).await.unwrap();
    let parts = planned.report.parts();
    assert_eq!(parts.iter().map(|done| done.part).collect::<Vec<_>>(), Part::ALL);
    let changed: Vec<_> =
        parts.iter().filter(|done| done.outcome == Outcome::Changed).map(|done| &*done.what).collect();
    assert_eq!(changed, [&pair.vm("web").await.id.to_string().replace('-', ""), "inside.lab"]);
    assert_eq!(pair.pictures().await.unwrap(), before);
    assert_eq!(pair.vm("web").await.state, VmState::Off);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_prepared_is_refused_with_the_fix() {
    let pair = Pair::new().await.unwrap();
    let refused = async |vm: &str, spec: SysprepSpec| said(&pair.sysprep(vm, &spec).await.unwrap_err());
    let running = refused("kept", SysprepSpec::default()).await;
    assert!(running.starts_with("invalid_state [VM kept]: VM kept is running: only one that is off"), "{running}");
    let mute = refused("modest", SysprepSpec::default()).await;
    assert!(mute.starts_with("unsupported [VM modest]") && mute.contains("virt-sysprep"), "{mute}");
    let long = Some(format!("{0}.{0}", "x".repeat(40)).parse().unwrap());
    let long = refused("web", SysprepSpec { host_name: long, ..SysprepSpec::default() }).await;
    assert!(long.starts_with("invalid_input") && long.contains("hostname") && long.contains("64"), "{long}");
    let short = refused("web", SysprepSpec { timeout: Duration::ZERO, ..SysprepSpec::default() }).await;
    assert!(short.contains("timeout"), "{short}");
    // Its name is for a machine, not for a guest; but that does not matter where the guest keeps its own.
    let mut document = pair.here.hypervisor.definition(&pair.vm("web").await.id, View::CONFIG).await.unwrap();
    document.name = Some("web_1".to_owned());
    let nameless = SysprepSpec::default().check(&document).unwrap_err();
    assert!(said(&nameless).contains("--hostname NAME"), "{}", said(&nameless));
    let keep = [Part::HostName].into();
    SysprepSpec { keep, ..SysprepSpec::default() }.check(&document).unwrap();
    assert!("everything".parse::<Part>().unwrap_err().to_string().contains("machine-id"));
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_not_prepared() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let replica = pair.there("web").await;
    let refused = plan_sysprep(&pair.there, &replica, &SysprepSpec::default(), &pair.cx()).await.unwrap_err();
    assert!(said(&refused).contains("is a replica of web"), "{}", said(&refused));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_come_up_is_ended_and_unchanged() {
    let pair = Pair::new().await.unwrap();
    let before = pair.pictures().await.unwrap();
    let planned = pair.sysprep("web", &SysprepSpec::default()).await.unwrap();
    let trial = planned.document.uuid.unwrap().into();
    let crash = async {
        while pair.source.act(&trial, GuestAction::Crash).is_err() {
            pair.clock.sleep(Duration::from_millis(200)).await;
        }
    };
    let (ran, ()) = tokio::join!(pair.run_at(planned.plan, &pair.here), crash);
    let error = ran.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(said(&error).contains("nothing inside was changed"), "{}", said(&error));
    pair.source.fail_next(Method::StartTransient, ErrorKind::InvalidState);
    let planned = pair.sysprep("web", &SysprepSpec::default()).await.unwrap();
    assert_eq!(pair.run_at(planned.plan, &pair.here).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(pair.pictures().await.unwrap(), before);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stopped_or_was_started_meanwhile_is_left_off_or_alone() {
    let pair = Pair::new().await.unwrap();
    let before = pair.pictures().await.unwrap();
    let planned = pair.sysprep("web", &SysprepSpec::default()).await.unwrap();
    let trial = planned.document.uuid.unwrap().into();
    let cancel = CancellationToken::new();
    let executor = pair.executor();
    let run = executor.run(planned.plan, RunContext { host: &pair.here, reporter: &Silent, cancel: &cancel });
    let stop = async {
        while pair.here.hypervisor.find(&VmRef::Id(trial)).await.is_err() {
            pair.clock.sleep(Duration::from_millis(100)).await;
        }
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(run, stop);
    assert_eq!(ran.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pair.pictures().await.unwrap(), before);

    let planned = pair.sysprep("web", &SysprepSpec::default()).await.unwrap();
    pair.here.hypervisor.power(&pair.vm("web").await.id, PowerAction::Start).await.unwrap();
    let refused = pair.run_at(planned.plan, &pair.here).await.unwrap_err();
    assert!(said(&refused).contains("is running by now"), "{}", said(&refused));
    assert_eq!(pair.vm("web").await.state, VmState::Running);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_are_written_in_a_copy_that_goes() {
    let pair = Pair::new().await.unwrap();
    let mut document = pair.here.hypervisor.definition(&pair.vm("web").await.id, View::CONFIG).await.unwrap();
    let path = "/images/web_VARS.fd";
    let nvram = kvm_xml::domain::Nvram { value: Some(path.to_owned()), ..Default::default() };
    document.os.get_or_insert_default().nvram = Some(nvram);
    pair.here.hypervisor.define(&document, Existing::Replace).await.unwrap();
    pair.here.transport.write_file(path.as_ref(), b"variables", 0o600).await.unwrap();
    let before = pair.pictures().await.unwrap();
    // The second time the start fails.
    for ends in [None, Some(ErrorKind::Unavailable)] {
        let planned = pair.sysprep("web", &SysprepSpec::default()).await.unwrap();
        let nvram = planned.document.os.as_ref().unwrap().nvram.clone().unwrap();
        assert_eq!(nvram.value, Some(format!("/images/{}_VARS.fd", planned.document.name.unwrap())));
        assert_eq!(planned.plan.steps.len(), 3);
        if let Some(kind) = ends {
            pair.source.fail_next(Method::StartTransient, kind);
        }
        assert_eq!(pair.run_at(planned.plan, &pair.here).await.err().map(|e| e.kind()), ends);
        assert_eq!(pair.pictures().await.unwrap(), before);
    }
    pair.assert_nothing_open().await;
}
