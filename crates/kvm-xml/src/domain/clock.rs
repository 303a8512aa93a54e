//! The clock, its timers, and sleep states.

use crate::common::Enabled;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{Adjustment, YesNo};
use kvm_xml_derive::Xml;

/// The guest's clock and its timers: <https://libvirt.org/formatdomain.html#time-keeping>.
#[derive(Clone, Default, Xml)]
pub struct Clock {
    pub offset: Option<ClockOffset>,
    pub adjustment: Option<Adjustment>,
    pub timezone: Option<String>,
    pub basis: Option<ClockBasis>,
    pub start: Option<u64>,
    pub timer: Vec<Timer>,
    pub _extra: Extra,
}

/// Which sleep states the guest's BIOS offers: <https://libvirt.org/formatdomain.html#power-management>.
#[derive(Clone, Default, Xml)]
pub struct Pm {
    #[xml("suspend-to-mem")]
    pub suspend_to_mem: Option<Enabled>,
    #[xml("suspend-to-disk")]
    pub suspend_to_disk: Option<Enabled>,
    pub _extra: Extra,
}

/// One timer and how its missed ticks are handled.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct Timer {
    pub name: Option<TimerName>,
    pub track: Option<TimerTrack>,
    pub tickpolicy: Option<TimerTickpolicy>,
    pub frequency: Option<u64>,
    pub mode: Option<TimerMode>,
    pub present: Option<YesNo>,
    pub catchup: Option<Catchup>,
    pub _extra: Extra,
}

/// Limits for a timer that catches up.
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
