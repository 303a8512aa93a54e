//! A guest's clock.

use jiff::Timestamp;
use kvm_core::Result;
use serde_json::json;

use super::{Agent, QUICK, SLOW, implausible};

impl Agent {
    /// Reads the guest's clock.
    pub async fn time(&self) -> Result<Timestamp> {
        let nanoseconds: i64 = self.ask("guest-get-time", &(), QUICK).await?;
        Timestamp::from_nanosecond(nanoseconds.into()).map_err(|e| implausible("a time that cannot be").with_source(e))
    }

    /// Sets the guest's clock; without a time, to that of its hardware clock, which the host keeps.
    pub async fn set_time(&self, time: Option<Timestamp>) -> Result<()> {
        match time {
            Some(time) => self.tell("guest-set-time", &json!({ "time": nanoseconds(time)? }), SLOW).await,
            None => self.tell("guest-set-time", &(), SLOW).await,
        }
    }
}

fn nanoseconds(time: Timestamp) -> Result<i64> {
    i64::try_from(time.as_nanosecond())
        .map_err(|_| kvm_core::Error::invalid("time", "the agent takes times from 1678 to 2262"))
}
