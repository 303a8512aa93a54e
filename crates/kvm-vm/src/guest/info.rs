//! What a guest is.

use jiff::Timestamp;
use kvm_core::Result;
use serde::{Deserialize, Serialize};

use super::bounded::Few;
use super::{Agent, QUICK, implausible};

/// The agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// The commands that it takes now, sorted.
    pub commands: Vec<String>,
}

/// The operating system, as it describes itself. Guests can lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"))]
pub struct OsInfo {
    /// `debian`, `mswindows`…
    pub id: Option<String>,
    /// `Debian GNU/Linux`.
    pub name: Option<String>,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: Option<String>,
    /// `12`.
    pub version_id: Option<String>,
    /// Release of its kernel, `6.1.0-40-cloud-amd64`.
    pub kernel_release: Option<String>,
    /// The machine as the kernel calls it, `x86_64`.
    pub machine: Option<String>,
}

/// The guest's time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimeZone {
    /// Its name, where the guest says one.
    pub name: Option<String>,
    /// East of UTC, in seconds; west is negative.
    pub offset_seconds: i32,
}

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedIn {
    /// The user.
    pub user: String,
    /// The domain, in Windows.
    pub domain: Option<String>,
    /// Since when; `None` when the guest names no time that can be.
    pub since: Option<Timestamp>,
}

impl Agent {
    /// Asks the agent for its version and the commands that it takes now.
    pub async fn info(&self) -> Result<AgentInfo> {
        #[derive(Deserialize)]
        struct Form {
            version: String,
            supported_commands: Few<Command, 1024>,
        }
        #[derive(Deserialize)]
        struct Command {
            name: String,
            enabled: bool,
        }
        let Form { version, supported_commands } = self.ask("guest-info", &(), QUICK).await?;
        let enabled = supported_commands.0.into_iter().filter(|command| command.enabled);
        let mut commands: Vec<_> = enabled.map(|command| command.name).collect();
        commands.sort_unstable();
        Ok(AgentInfo { version, commands })
    }

    /// Asks what operating system runs.
    pub async fn os_info(&self) -> Result<OsInfo> {
        self.ask("guest-get-osinfo", &(), QUICK).await
    }

    /// Asks for the guest's own name.
    pub async fn host_name(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Form {
            host_name: String,
        }
        self.ask("guest-get-host-name", &(), QUICK).await.map(|form: Form| form.host_name)
    }

    /// Asks for the guest's time zone.
    pub async fn time_zone(&self) -> Result<TimeZone> {
        #[derive(Deserialize)]
        struct Form {
            zone: Option<String>,
            offset: i64,
        }
        let Form { zone, offset } = self.ask("guest-get-timezone", &(), QUICK).await?;
        let offset_seconds = i32::try_from(offset).ok().filter(|offset| offset.abs() <= 86_400);
        let offset_seconds = offset_seconds.ok_or_else(|| implausible("a time zone further than a day from UTC"))?;
        Ok(TimeZone { name: zone, offset_seconds })
    }

    /// Lists who is logged in.
    pub async fn users(&self) -> Result<Vec<LoggedIn>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Form {
            user: String,
            domain: Option<String>,
            login_time: f64,
        }
        let users: Few<Form, 4096> = self.ask("guest-get-users", &(), QUICK).await?;
        let user = |form: Form| LoggedIn { user: form.user, domain: form.domain, since: moment(form.login_time) };
        Ok(users.0.into_iter().map(user).collect())
    }
}

/// A time in seconds since the epoch, as the agent writes it.
fn moment(seconds: f64) -> Option<Timestamp> {
    let is_possible = seconds.is_finite() && (0.0..=253_402_300_799.0).contains(&seconds);
    is_possible.then(|| Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_is_unknown() {
        assert_eq!(moment(1.5), Timestamp::from_millisecond(1500).ok());
        for seconds in [-1.0, 1e308, f64::NAN, f64::INFINITY] {
            assert_eq!(moment(seconds), None);
        }
    }
}
