//! What the doctor says of hosts that are well and of hosts that are not.

use kvm_core::{Error, ErrorKind, Host, Output, Resource, Target};
use kvm_mock::Script;
use kvm_vm::doctor::{Check, Finding, Patient, Status, diagnose, explain_start};

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

/// The way to the images of the VM `db`, in the order of their names, with what the file system says of each directory.
const WAY: [(&str, &str); 7] = [
    ("/", "41ed:0:0:root:root"),
    ("/images", "41c0:0:994:root:vms"),
    ("/images/base.qcow2", "8180:0:0:root:root"),
    ("/images/db.qcow2", "8180:1000:1000:ann:ann"),
    ("/images/shared.qcow2", "8180:1000:1000:ann:ann"),
    ("/iso", "41ed:0:0:root:root"),
    ("/iso/debian.iso", "81a4:0:0:root:root"),
];

/// What stands before a program that the user of QEMU is to run.
const AS_QEMU: [&str; 5] = ["setpriv", "--reuid=64055", "--regid=993", "--groups=993,64055", "--"];

/// Whoever looks at that way sees no more than this of it.
fn with_way(bench: &Bench, before: &[&str], sees: impl Fn(&str) -> bool) {
    let mut argv = [before, &["stat", "--dereference", "--printf=%f:%u:%g:%U:%G:%n\\0", "--"]].concat();
    argv.extend(WAY.map(|(path, _)| path));
    let seen = WAY.iter().filter(|(path, _)| sees(path)).map(|(path, entry)| format!("{entry}:{path}\0"));
    bench.mock.add_program(Script::printing(&argv, &seen.collect::<String>()));
}

/// The findings about the disks of `db`.
async fn of_disks(bench: &Bench, target: &str) -> Vec<Finding> {
    let (target, vm) = (Target::parse(target).unwrap(), bench.vm("db").await);
    let patient = Patient { target: &target, host: Ok(&bench.host), transport: Some(&bench.mock), vm: Some(&vm) };
    let findings = diagnose(&patient, &*bench.clock).await;
    findings.into_iter().filter(|finding| finding.check == Check::Disks).collect()
}

async fn examined(bench: &Bench, target: &str, host: Result<&Host, &Error>) -> Vec<Finding> {
    let target = Target::parse(target).unwrap();
    let patient = Patient { target: &target, host, transport: Some(&bench.mock), vm: None };
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
        (Check::Disks, Status::Skipped),
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
    let patient = Patient { target: &target, host: Ok(&bench.host), transport: None, vm: None };
    let findings = diagnose(&patient, &*bench.clock).await;
    for check in [Check::Groups, Check::Cpu, Check::Kvm, Check::Nested] {
        assert_eq!(of(&findings, check).status, Status::Skipped, "{check}");
    }
}

#[tokio::test(start_paused = true)]
async fn root_asks_the_kernel_as_the_user_of_qemu_which_directory_stops_it() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "root\n");
    bench.mock.add_program(Script::printing(&["id", "-u"], "0\n"));
    bench.mock.add_program(Script::printing(&[&AS_QEMU[..], &["test", "-x", "/"]].concat(), ""));
    with_way(&bench, &AS_QEMU, |path| !path.starts_with("/images/"));
    let findings = of_disks(&bench, "qemu:///system").await;
    let [stopped] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(stopped.status, Status::Fail);
    assert_eq!(stopped.what, "/images does not let libvirt-qemu through, as which QEMU runs");
    let why = stopped.why.as_deref().unwrap();
    assert!(why.starts_with("directory with mode 0700, owner root, group vms\n/images/base.qcow2: "), "{why}");
    assert!(why.contains("/images/db.qcow2: disk vda of VM db"), "{why}");
    assert!(stopped.fix.as_deref().unwrap().starts_with("sudo chmod a+x /images\n"), "{stopped:?}");

    // Behind a directory that lets it through, a file that is not seen is not there, which is no matter of permissions.
    bench.mock.add_program(Script::printing(&[&AS_QEMU[..], &["test", "-x", "/images"]].concat(), ""));
    assert_eq!(of_disks(&bench, "qemu:///system").await[0].status, Status::Ok);
    with_way(&bench, &AS_QEMU, |_| true);
    let findings = of_disks(&bench, "qemu:///system").await;
    assert_eq!(findings[0].what, "libvirt-qemu, as which QEMU runs, gets to all 4 images of disks");
    assert_eq!((findings.len(), findings[0].status), (1, Status::Ok));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_symbolic_link_counts_as_well() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann libvirt\n");
    let images = ["/images/base.qcow2", "/images/db.qcow2", "/images/shared.qcow2", "/iso/debian.iso"];
    let argv = [&["readlink", "--canonicalize-missing", "--zero", "--"], &images[..]].concat();
    let ends = "/images/base.qcow2\0/root/db.qcow2\0/images/shared.qcow2\0/iso/debian.iso\0";
    bench.mock.add_program(Script::printing(&argv, ends));
    let mut argv = vec!["stat", "--dereference", "--printf=%f:%u:%g:%U:%G:%n\\0", "--"];
    argv.extend(WAY.map(|(path, _)| path).into_iter().chain(["/root", "/root/db.qcow2"]));
    let open = ["/", "/images", "/iso"].map(|path| format!("41ed:0:0:root:root:{path}\0")).concat();
    bench.mock.add_program(Script::printing(&argv, &format!("{open}41c0:0:0:root:root:/root\0")));
    let findings = of_disks(&bench, "qemu:///system").await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].what.starts_with("/root does not let "), "{findings:?}");
    assert!(findings[0].why.as_deref().unwrap().ends_with("\n/images/db.qcow2: disk vda of VM db"), "{findings:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_root_goes_by_permission_bits_and_access_lists() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann libvirt\n");
    with_way(&bench, &[], |path| !path.starts_with("/images/"));
    let findings = of_disks(&bench, "qemu:///system").await;
    assert_eq!((findings.len(), findings[0].status), (1, Status::Fail), "{findings:?}");
    let listed = "user::rwx\nuser:64055:--x\ngroup::---\nmask::--x\nother::---\n";
    let getfacl = ["getfacl", "--absolute-names", "--numeric", "--omit-header", "--", "/images"];
    bench.mock.add_program(Script::printing(&getfacl, listed));
    assert_eq!(of_disks(&bench, "qemu:///system").await[0].status, Status::Ok);
    // What ann cannot look into is not claimed to be well.
    with_way(&bench, &[], |path| !path.starts_with("/i"));
    let findings = of_disks(&bench, "qemu:///system").await;
    assert_eq!((findings.len(), findings[0].status), (1, Status::Skipped), "{findings:?}");
    assert_eq!(findings[0].what, "4 of 4 images could not be looked at");
}

#[tokio::test(start_paused = true)]
async fn in_a_session_the_files_themselves_count() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann\n");
    with_way(&bench, &[], |_| true);
    for path in ["/images/db.qcow2", "/images/shared.qcow2"] {
        bench.mock.add_program(Script::printing(&["test", "-r", path, "-a", "-w", path], ""));
    }
    bench.mock.add_program(Script::printing(&["test", "-r", "/iso/debian.iso"], ""));
    let findings = of_disks(&bench, "qemu:///session").await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].what, "/images/base.qcow2 cannot be opened by ann, as which QEMU runs");
    assert_eq!(findings[0].fix.as_deref(), Some("sudo chmod a+r /images/base.qcow2"));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_refused_is_explained_by_the_directory() {
    let bench = Bench::new();
    with_system(&bench, "21b0:0:993", "ann libvirt\n");
    with_way(&bench, &[], |path| !path.starts_with("/images/"));
    let (system, vm) = (Target::parse("qemu:///system").unwrap(), bench.vm("db").await);
    let patient = Patient { target: &system, host: Ok(&bench.host), transport: Some(&bench.mock), vm: Some(&vm) };
    let explained = async |patient: &Patient<'_>, kind| {
        explain_start(patient, &vm, Error::new(kind, "refused"), &*bench.clock).await
    };
    let e = explained(&patient, ErrorKind::Denied).await;
    assert_eq!((e.kind(), e.operation()), (ErrorKind::Denied, Some("pass-directory")));
    assert_eq!(e.resource(), Some(&Resource::File("/images".into())));
    assert_eq!(std::error::Error::source(&e).unwrap().to_string(), "refused");
    assert_eq!(explained(&patient, ErrorKind::InvalidState).await.kind(), ErrorKind::Denied);
    // What has another reason is left alone, and so is a host whose files nobody can see.
    for kind in [ErrorKind::NoSpace, ErrorKind::Timeout] {
        assert_eq!(explained(&patient, kind).await.message(), "refused");
    }
    let blind = Patient { transport: None, ..patient };
    assert_eq!(explained(&blind, ErrorKind::Denied).await.message(), "refused");
}
