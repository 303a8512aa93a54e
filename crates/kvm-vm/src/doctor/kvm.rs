//! Whether machines can use the hardware.

use kvm_core::{Capabilities, Scope};

use super::system::{Access, System, User, Want};
use super::{Check, Finding, Status};

const DEVICE: &str = "/dev/kvm";

pub(super) async fn findings(system: &System<'_>) -> Vec<Finding> {
    vec![cpu(system).await, device(system).await, nested(system).await]
}

async fn cpu(system: &System<'_>) -> Finding {
    let Some(text) = system.read("/proc/cpuinfo").await else {
        return Finding::skipped(Check::Cpu, "/proc/cpuinfo cannot be read");
    };
    match virtualisation(&text) {
        Some(Some(flag)) => Finding::ok(Check::Cpu, format!("the CPU has hardware virtualisation ({flag})")),
        Some(None) => Finding::new(Check::Cpu, Status::Warn, "the CPU shows no hardware virtualisation")
            .why("guests are emulated, which is many times slower")
            .fix("switch VT-x or AMD-V on in the firmware; in a virtual machine, allow nested virtualisation outside"),
        None => Finding::skipped(Check::Cpu, "this architecture does not say it in its flags"),
    }
}

/// The flag of an x86 CPU; the outer `None` is another architecture.
fn virtualisation(cpuinfo: &str) -> Option<Option<&'static str>> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    Some(["vmx", "svm"].into_iter().find(|flag| has(flag)))
}

async fn device(system: &System<'_>) -> Finding {
    let access = match system.access(DEVICE).await {
        Ok(access) => access,
        Err(e) => return Finding::skipped(Check::Kvm, e.to_string()),
    };
    let Some(access) = access else {
        return Finding::new(Check::Kvm, Status::Warn, format!("there is no {DEVICE}"))
            .why("guests are emulated, which is many times slower")
            .fix("sudo modprobe kvm_intel, or kvm_amd; where that fails, see the finding about the CPU");
    };
    let user = match system.qemu_user().await {
        Ok(user) => user,
        Err(e) => return Finding::skipped(Check::Kvm, e.to_string()),
    };
    // In a session QEMU is us, so that the kernel itself can be asked; it knows access lists, too.
    let asked = if system.scope == Scope::Session { system.usable(DEVICE).await.ok() } else { None };
    judge(access, user.as_ref(), asked)
}

fn judge(access: Access, user: Option<&User>, asked: Option<bool>) -> Finding {
    let Some(user) = user else {
        return Finding::new(Check::Kvm, Status::Warn, format!("{DEVICE} is there, but who uses it is not known"))
            .why("no user libvirt-qemu or qemu, and /etc/libvirt/qemu.conf cannot be read or names none");
    };
    if asked.unwrap_or_else(|| access.allows(user, Want::ReadWrite)) {
        return Finding::ok(Check::Kvm, format!("{DEVICE} is usable by {}, as which QEMU runs", user.name));
    }
    Finding::new(Check::Kvm, Status::Fail, format!("{DEVICE} is not usable by {}, as which QEMU runs", user.name))
        .why(format!("mode {:04o}, owner {}, group {}", access.mode, access.owner, access.group))
        .fix(format!("sudo usermod --append --groups kvm {}, then log in again or restart libvirt", user.name))
}

async fn nested(system: &System<'_>) -> Finding {
    for module in ["kvm_intel", "kvm_amd"] {
        if let Some(value) = system.read(&format!("/sys/module/{module}/parameters/nested")).await {
            let on = matches!(value.trim(), "1" | "Y" | "y");
            let what = if on { "guests may run guests of their own" } else { "guests cannot run guests of their own" };
            return Finding::ok(Check::Nested, format!("{what} ({module} nested={})", value.trim()));
        }
    }
    Finding::skipped(Check::Nested, "neither kvm_intel nor kvm_amd is loaded")
}

/// Whether there is a QEMU, as the host itself says.
pub(super) fn emulator(capabilities: Option<&Capabilities>) -> Finding {
    let Some(host) = capabilities else { return Finding::skipped(Check::Emulator, "libvirt does not answer") };
    let arch = host.arch.as_deref().unwrap_or("x86_64");
    let Some(guest) = host.best_guest(arch) else {
        return Finding::new(Check::Emulator, Status::Fail, format!("the host runs no guests for {arch}"))
            .why("libvirt found no emulator")
            .fix("sudo apt install qemu-system, then restart libvirt");
    };
    let emulator = guest.emulator.as_deref().unwrap_or("the hypervisor itself");
    let what = format!("{emulator} runs {arch} guests ({})", guest.virt_type);
    if guest.virt_type == "qemu" {
        return Finding::new(Check::Emulator, Status::Warn, what).why("without KVM, guests are many times slower");
    }
    Finding::ok(Check::Emulator, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_a_whole_word() {
        assert_eq!(virtualisation("model: x\nflags\t\t: fpu vmx sse\n"), Some(Some("vmx")));
        assert_eq!(virtualisation("flags : fpu svm_lock\n"), Some(None));
        assert_eq!(virtualisation("Features : fp asimd\n"), None);
    }

    #[test]
    fn the_kernels_own_answer_counts_more_than_permission_bits() {
        let access = Access { mode: 0o660, owner: 0, group: 993 };
        let user = User { name: "me".into(), uid: 1000, ..User::default() };
        assert_eq!(judge(access, Some(&user), Some(true)).status, Status::Ok);
        let finding = judge(access, Some(&user), None);
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.why.as_deref(), Some("mode 0660, owner 0, group 993"));
        assert!(finding.fix.unwrap().contains("kvm me"));
        assert_eq!(judge(access, None, None).status, Status::Warn);
    }
}
