//! The clock, its timers, and sleep states.

use crate::common::Enabled;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Adjustment, YesNo};
use kvm_xml_derive::Xml;

/// The guest's clock and its timers: <https://libvirt.org/formatdomain.html#time-keeping>.
#[derive(Clone, Default, Xml)]
pub struct Clock {
    /// `Utc` (default) for most systems, `Localtime` for Windows. `Variable` keeps what the guest set, `Timezone` uses
    /// `timezone`, `Absolute` starts at `start` (since 8.4.0).
    pub offset: Option<ClockOffset>,
    /// Seconds ahead of `basis` with `Variable`. With `Utc` and `Localtime`: `reset` puts the clock right at each
    /// start, a number turns it into `Variable`.
    pub adjustment: Option<Adjustment>,
    /// With `Timezone`: a name such as `Europe/Paris`.
    pub timezone: Option<String>,
    /// With `Variable`: default `Utc`. Since 0.9.11.
    pub basis: Option<ClockBasis>,
    /// With `Absolute`: seconds since 1970.
    pub start: Option<u64>,
    /// What is not named keeps the hypervisor's default.
    pub timer: Vec<Timer>,
    pub _extra: Extra,
}

/// Which sleep states the guest's BIOS offers: <https://libvirt.org/formatdomain.html#power-management>.
///
/// The guest may still find another way to sleep. QEMU, since 0.10.2.
#[derive(Clone, Default, Xml)]
pub struct Pm {
    /// ACPI S3.
    #[xml("suspend-to-mem")]
    pub suspend_to_mem: Option<Enabled>,
    /// ACPI S4.
    #[xml("suspend-to-disk")]
    pub suspend_to_disk: Option<Enabled>,
    pub _extra: Extra,
}

/// One timer and how its missed ticks are handled: <https://libvirt.org/formatdomain.html#time-keeping>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct Timer {
    /// `Kvmclock` for Linux and `Hypervclock` for Windows under KVM; `Hpet` is best switched off on x86.
    pub name: Option<TimerName>,
    /// `Rtc` and `Platform` only.
    pub track: Option<TimerTrack>,
    /// `Delay` lets the guest fall behind, `Catchup` makes up with faster ticks, `Merge` joins missed ticks, `Discard`
    /// drops them.
    pub tickpolicy: Option<TimerTickpolicy>,
    /// `Tsc` only; Hz.
    pub frequency: Option<u64>,
    /// `Tsc` only.
    pub mode: Option<TimerMode>,
    /// No takes the timer away.
    pub present: Option<YesNo>,
    /// With `tickpolicy` `Catchup` only.
    pub catchup: Option<Catchup>,
    pub _extra: Extra,
}

/// Limits for a timer that catches up: <https://libvirt.org/formatdomain.html#time-keeping>.
#[derive(Clone, Default, Xml)]
pub struct Catchup {
    pub threshold: Option<u32>,
    pub slew: Option<u32>,
    pub limit: Option<u32>,
    pub _extra: Extra,
}

closed! {
    /// What `offset` of [`Clock`] can be.
    pub enum ClockOffset {
        Localtime = "localtime", Utc = "utc", Timezone = "timezone", Variable = "variable", Absolute = "absolute",
    }
    /// What `basis` of [`Clock`] can be.
    pub enum ClockBasis {
        Utc = "utc", Localtime = "localtime",
    }
    /// What `name` of [`Timer`] can be.
    pub enum TimerName {
        Platform = "platform", Rtc = "rtc", Tsc = "tsc", Hpet = "hpet", Pit = "pit", Armvtimer = "armvtimer",
        Kvmclock = "kvmclock", Hypervclock = "hypervclock",
    }
    /// What `track` of [`Timer`] can be.
    pub enum TimerTrack {
        Boot = "boot", Guest = "guest", Wall = "wall", Realtime = "realtime",
    }
    /// What `tickpolicy` of [`Timer`] can be.
    pub enum TimerTickpolicy {
        Delay = "delay", Merge = "merge", Discard = "discard", Catchup = "catchup",
    }
    /// What `mode` of [`Timer`] can be.
    pub enum TimerMode {
        Auto = "auto", Native = "native", Emulate = "emulate", Paravirt = "paravirt", Smpsafe = "smpsafe",
    }
}
