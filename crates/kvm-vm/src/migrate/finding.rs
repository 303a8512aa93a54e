//! What was found in a look at both hosts.

use std::fmt;

use serde::Serialize;

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it is.
    pub verdict: Verdict,
    /// What is so, in one line.
    pub what: String,
    /// Why, or what follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn new(check: Check, verdict: Verdict, what: impl Into<String>) -> Self {
        Self { check, verdict, what: what.into(), why: None, fix: None }
    }

    pub(super) fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, what)
    }

    pub(super) fn warning(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, what)
    }

    pub(super) fn refusal(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Refusal, what)
    }

    pub(super) fn unknown(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, what)
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// What is so, why, and what mends it, in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        let parts = [Some(&self.what), self.why.as_ref(), self.fix.as_ref()];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Fine.
    Ok,
    /// It will do, but somebody should know.
    Warning,
    /// It will not do.
    Refusal,
    /// Nobody here can see it.
    Unknown,
}

impl Verdict {
    /// The word in plans and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Refusal => "refusal",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Defines [`Check`] with its names, so that neither list can miss one.
macro_rules! checks {
    ($($(#[$doc:meta])* $check:ident = $name:literal;)*) => {
        /// What is looked at before a machine moves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Check {
            $($(#[$doc])* $check,)*
        }

        impl Check {
            /// The name in tables and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)*
                }
            }
        }
    };
}

checks! {
    /// Whether these are two hosts of one kind.
    Hosts = "hosts";
    /// Whether the machine's state fits.
    State = "state";
    /// Whether name and uuid are free there.
    Name = "name";
    /// Whether the destination's hypervisor is not older.
    Version = "version";
    /// Whether the destination has the kind of guest and the machine type.
    MachineType = "machine-type";
    /// Whether the destination can give the machine its CPU.
    Cpu = "cpu";
    /// Whether the destination has so much memory.
    Memory = "memory";
    /// Firmware and its variables.
    Firmware = "firmware";
    /// The emulated TPM and its state.
    Tpm = "tpm";
    /// Devices of the host that the machine has.
    Devices = "devices";
    /// Snapshots, checkpoints and a saved state, which do not move.
    Records = "records";
    /// Networks and bridges.
    Networks = "networks";
    /// Images, by pools and paths.
    Storage = "storage";
    /// Whether there is room for what is copied.
    Space = "space";
    /// Whether storage that is said to be shared is.
    SharedStorage = "shared-storage";
    /// Secrets that disks need.
    Secrets = "secrets";
    /// How the hosts reach each other.
    Route = "route";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_ones() {
        for check in [Check::Hosts, Check::MachineType, Check::SharedStorage, Check::Route] {
            assert_eq!(serde_json::to_value(check).unwrap(), check.as_str());
        }
        for verdict in [Verdict::Ok, Verdict::Warning, Verdict::Refusal, Verdict::Unknown] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
    }
}
