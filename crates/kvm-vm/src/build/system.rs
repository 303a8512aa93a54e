//! Features, clock and sleep states.

use kvm_xml::common::{Enabled, Toggle};
use kvm_xml::domain as xml;
use kvm_xml::value::{OnOff, YesNo};

use super::Platform;
use crate::spec::{Firmware, OsHint};

pub(super) fn features(platform: &Platform<'_>) -> xml::Features {
    let on = || Some(Toggle { state: Some(OnOff::On), ..Toggle::default() });
    xml::Features {
        acpi: platform.is_x86() || platform.firmware != Firmware::Bios,
        apic: platform.is_x86().then(xml::Apic::default),
        // What makes Windows fast on KVM; other hypervisors have none of it.
        hyperv: (platform.os == OsHint::Windows && platform.is_kvm() && platform.is_x86()).then(|| xml::Hyperv {
            relaxed: on(),
            vapic: on(),
            spinlocks: Some(xml::HypervSpinlocks {
                state: Some(OnOff::On),
                retries: Some(8191),
                ..xml::HypervSpinlocks::default()
            }),
            ..xml::Hyperv::default()
        }),
        ..xml::Features::default()
    }
}

pub(super) fn clock(platform: &Platform<'_>) -> xml::Clock {
    let windows = platform.os == OsHint::Windows;
    let mut timer = Vec::new();
    if platform.is_x86() {
        timer.push(ticking(xml::TimerName::Rtc, xml::TimerTickpolicy::Catchup));
        timer.push(ticking(xml::TimerName::Pit, xml::TimerTickpolicy::Delay));
        timer.push(present(xml::TimerName::Hpet, YesNo::No));
        if windows && platform.is_kvm() {
            timer.push(present(xml::TimerName::Hypervclock, YesNo::Yes));
        }
    }
    let offset = if windows { xml::ClockOffset::Localtime } else { xml::ClockOffset::Utc };
    xml::Clock { offset: Some(offset), timer, ..xml::Clock::default() }
}

fn ticking(name: xml::TimerName, policy: xml::TimerTickpolicy) -> xml::Timer {
    xml::Timer { name: Some(name), tickpolicy: Some(policy), ..xml::Timer::default() }
}

fn present(name: xml::TimerName, present: YesNo) -> xml::Timer {
    xml::Timer { name: Some(name), present: Some(present), ..xml::Timer::default() }
}

/// No sleeping: a guest that suspends itself looks dead to everybody.
pub(super) fn sleep_states() -> xml::Pm {
    let no = || Some(Enabled { enabled: Some(YesNo::No), ..Enabled::default() });
    xml::Pm { suspend_to_mem: no(), suspend_to_disk: no(), ..xml::Pm::default() }
}
