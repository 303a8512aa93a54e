//! What the doctor says of hosts that are well and of hosts that are not.

use kvm_core::{Error, ErrorKind, Host, Output, Target};
use kvm_mock::Script;
use kvm_vm::doctor::{Check, Finding, Patient, Status, diagnose};

use crate::support::Bench;

/// A host whose operating system answers like this.
fn with_system(bench: &Bench, kvm: &str, groups: &str) {
    for (argv, stdout) in [
        (vec!["id", "-u"], "1000\n"),
        (vec!["id", "-un"], "ann\n"),
        (vec!["id", "-G"], "1000\n"),
        (vec!["id", "-Gn"], groups),
        (vec!["id", "-u", "libvirt-qemu"], "64055\n"),
        (vec!["id", "-un", "libvirt-qemu"], "libvirt-qemu\n"),
        (vec!["id", "-G", "libvirt-qemu"], "993 64055\n"),
        (vec!["id", "-Gn", "libvirt-qemu"], "kvm libvirt-qemu\n"),
        (vec!["test", "-e", "/usr/sbin/libvirtd"], ""),
        (vec!["test", "-e", "/run/libvirt/libvirt-sock"], ""),
    ] {
        bench.mock.add_program(Script::printing(&argv, stdout));
    }
    let stat = ["stat", "--dereference", "--printf=%f:%u:%g", "--", "/dev/kvm"];
    let status = Some(i32::from(kvm.is_empty()));
    bench.mock.add_program(Script {
        output: Output { status, stdout: kvm.into(), stderr: Vec::new() },
        ..Script::printing(&stat, "")
    });
}

async fn examined(bench: &Bench, target: &str, host: Result<&Host, &Error>) -> Vec<Finding> {
    let target = Target::parse(target).unwrap();
    let patient = Patient { target: &target, host, transport: Some(&bench.mock) };
    diagnose(&patient, &*bench.clock).await
}

fn of(findings: &[Finding], check: Check) -> &Finding {
    findings.iter().find(|f| f.check == check).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_simulated_host_is_well_and_its_hardware_is_not_looked_at() {
    let bench = Bench::new();
    let findings = examined(&bench, "mock:///demo", Ok(&bench.host)).await;
    let expected = [
        (Check::Libvirt, Status::Ok),
        (Check::Groups, Status::Skipped),
        (Check::Cpu, Status::Skipped),
        (Check::Kvm, Status::Skipped),
        (Check::Nested, Status::Skipped),
        (Check::Emulator, Status::Ok),
        (Check::Iommu, Status::Skipped),
        (Check::Pool, Status::Ok),
        (Check::Network, Status::Ok),
    ];
    assert_eq!(findings.iter().map(|f| (f.check, f.status)).collect::<Vec<_>>(), expected);
    let json = serde_json::to_value(&findings[0]).unwrap();
    assert_eq!((&json["check"], &json["status"]), (&"libvirt".into(), &"ok".into()));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_qemu_may_not_use_fails_with_its_fix() {
    let bench = Bench::new();
    with_system(&bench, "2180:0:0", "ann libvirt\n");
    let findings = examined(&bench, "qemu:///system", Ok(&bench.host)).await;
    let kvm = of(&findings, Check::Kvm);
    assert_eq!(kvm.status, Status::Fail);
    assert_eq!(kvm.what, "/dev/kvm is not usable by libvirt-qemu, as which QEMU runs");
    assert_eq!(kvm.why.as_deref(), Some("mode 0600, owner 0, group 0"));
    assert!(kvm.fix.as_deref().unwrap().contains("--groups kvm libvirt-qemu"));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_there_means_emulation() {
    let bench = Bench::new();
    with_system(&bench, "", "ann libvirt\n");
    let findings = examined(&bench, "qemu:///system", Ok(&bench.host)).await;
    assert_eq!(of(&findings, Check::Kvm).status, Status::Warn);
    assert_eq!(of(&findings, Check::Groups).what, "ann is in the group libvirt");
}

#[tokio::test(start_paused = true)]
async fn in_a_session_the_kernel_is_asked_about_the_user() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann\n");
    let findings = examined(&bench, "qemu:///session", Ok(&bench.host)).await;
    assert!(of(&findings, Check::Libvirt).why.as_deref().unwrap().starts_with("a session"));
    // The permission bits say no, and so does `test`, which knows of no such file.
    assert_eq!(of(&findings, Check::Kvm).status, Status::Fail);
    // An access list lets the user in.
    bench.mock.add_program(Script::printing(&["test", "-r", "/dev/kvm", "-a", "-w", "/dev/kvm"], ""));
    let findings = examined(&bench, "qemu:///session", Ok(&bench.host)).await;
    assert_eq!(of(&findings, Check::Kvm).what, "/dev/kvm is usable by ann, as which QEMU runs");
}

#[tokio::test(start_paused = true)]
async fn why_libvirt_does_not_answer_decides_the_fix() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann\n");
    for (target, kind, fix) in [
        ("qemu:///system", ErrorKind::Denied, "usermod --append --groups libvirt"),
        ("qemu:///system", ErrorKind::Unavailable, "systemctl enable --now libvirtd.socket"),
        ("qemu:///system", ErrorKind::Timeout, "systemctl restart libvirtd"),
        ("qemu:///session", ErrorKind::Unavailable, "XDG_RUNTIME_DIR"),
        ("qemu+ssh://kvm1/system", ErrorKind::Denied, "check the key"),
        ("qemu+tls://kvm1/system", ErrorKind::Unavailable, "check that the host is on"),
    ] {
        let error = Error::new(kind, "it does not work").with_source(std::io::Error::other("because"));
        let findings = examined(&bench, target, Err(&error)).await;
        let libvirt = of(&findings, Check::Libvirt);
        assert_eq!(libvirt.status, Status::Fail, "{target}");
        assert_eq!(libvirt.why.as_deref(), Some("it does not work: because"));
        assert!(libvirt.fix.as_deref().unwrap().contains(fix), "{target} {kind}: {libvirt:?}");
        for check in [Check::Emulator, Check::Pool, Check::Network] {
            assert_eq!(of(&findings, check).status, Status::Skipped, "{check}");
        }
    }
    let error = Error::new(ErrorKind::Denied, "no");
    let findings = examined(&bench, "qemu:///system", Err(&error)).await;
    let groups = of(&findings, Check::Groups);
    assert_eq!((groups.status, groups.what.as_str()), (Status::Fail, "ann is not in the group libvirt"));
    assert!(groups.why.is_some(), "the socket is there");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_is_given_up_after_ten_seconds() {
    let bench = Bench::new();
    bench.mock.set_latency(std::time::Duration::from_secs(3600));
    let findings = examined(&bench, "mock:///demo", Ok(&bench.host)).await;
    let libvirt = of(&findings, Check::Libvirt);
    assert_eq!((libvirt.status, libvirt.why.as_deref()), (Status::Fail, Some("no answer within 10 s")));
}

#[tokio::test(start_paused = true)]
async fn without_a_way_to_the_system_nothing_is_claimed_about_it() {
    let bench = Bench::new();
    let target = Target::parse("qemu+tls://kvm1/system").unwrap();
    let patient = Patient { target: &target, host: Ok(&bench.host), transport: None };
    let findings = diagnose(&patient, &*bench.clock).await;
    for check in [Check::Groups, Check::Cpu, Check::Kvm, Check::Nested] {
        assert_eq!(of(&findings, check).status, Status::Skipped, "{check}");
    }
}
