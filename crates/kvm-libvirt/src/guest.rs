//! What is asked of, or about, the system inside a machine.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::text::printable_within;
use kvm_core::{
    AddressSource, AgentCommand, AgentReply, ErrorKind, Guest, GuestAddress, MacAddr, Result, VmId, VmState,
};
use virt::sys;

use crate::config::Kind;
use crate::error::LibvirtError;
use crate::ffi::address::{self, Interface};
use crate::ffi::agent;
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Subject, Task};

/// How long an agent may take to say which commands it takes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// So much of what the agent says is repeated in an error.
const SHOWN: usize = 300;

#[async_trait]
impl Guest for Libvirt {
    async fn addresses(&self, id: &VmId, source: AddressSource) -> Result<Vec<GuestAddress>> {
        let id = *id;
        if source == AddressSource::Agent {
            let question = |task: &Task<'_>, machine: &Machine| {
                addresses(machine, AddressSource::Agent).map_err(|e| no_agent(task, machine, e))
            };
            return self.with_agent("ask the agent for the addresses of", &id, Duration::ZERO, question).await;
        }
        self.ask("find the addresses of", vm_resource(&id), move |task| {
            let machine = task.active_machine(&id)?;
            if source == AddressSource::Arp {
                refuse_test(task)?;
            }
            addresses(&machine, source).map_err(|e| task.unless_off(&machine, e))
        })
        .await
    }

    async fn ping_agent(&self, id: &VmId) -> Result<()> {
        // Any question starts with libvirt's own handshake with the agent. This one changes nothing; QEMU's ping could
        // only be sent raw, which libvirt marks the machine for.
        let question = |task: &Task<'_>, machine: &Machine| {
            machine.domain.time(0).map(drop).map_err(|e| no_agent(task, machine, e.into()))
        };
        self.with_agent("reach the agent of", id, Duration::ZERO, question).await
    }

    async fn ask_agent(&self, id: &VmId, command: &AgentCommand, timeout: Duration) -> Result<AgentReply> {
        let command = command.clone();
        self.with_agent("ask the agent of", id, timeout, move |task, machine| {
            let answer = raw(machine, &command, timeout).map_err(|e| refused(task, machine, &command, e))?;
            Ok(AgentReply::parse(answer)?)
        })
        .await
    }
}

impl Libvirt {
    /// Asks a running machine's agent something, with the limit for agents, and beside the host's own calls: agents
    /// that do not answer must not hold those up. `longer` is what the question may take beyond that.
    async fn with_agent<T: Send + 'static>(
        &self,
        verb: &'static str,
        id: &VmId,
        longer: Duration,
        question: impl FnOnce(&Task<'_>, &Machine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (id, limit) = (*id, self.config.agent_deadline);
        let subject = Subject::new(verb, vm_resource(&id));
        self.jobs
            .call(subject, self.config.call_deadline.saturating_add(longer), move |task| {
                let machine = task.machine(&id)?;
                match machine.state()? {
                    VmState::Running => {}
                    // Its agent cannot answer either.
                    state if state.is_active() => return Err(task.invalid_state(format!("is {state}")).into()),
                    _ => return Err(task.not_running().into()),
                }
                refuse_test(task)?;
                if let Err(e) = agent::set_response_timeout(&machine.domain, limit) {
                    tracing::debug!(error = %e, "libvirt waits for this agent as long as it likes");
                }
                question(task, &machine)
            })
            .await
    }
}

/// Sends a command as it is: `virDomainQemuAgentCommand`.
fn raw(machine: &Machine, command: &AgentCommand, timeout: Duration) -> Result<String, LibvirtError> {
    let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).max(1);
    Ok(machine.domain.qemu_agent_command(&command.to_json(), seconds, 0)?)
}

/// Why a command got no answer: it came too late, there is no agent, or the agent could not do it. Which of the last
/// it was, and whether the agent knows the command, is not in the number; the agent can be asked.
fn refused(task: &Task<'_>, machine: &Machine, command: &AgentCommand, e: LibvirtError) -> Failure {
    let name = command.name();
    if e.is(sys::VIR_ERR_AGENT_COMMAND_TIMEOUT) {
        let message = format!("no answer of the guest agent of {} to {name} in time", task.resource());
        return task.error(ErrorKind::Timeout, message).with_source(e).into();
    }
    let is_answer = matches!(e.kind(), None | Some(ErrorKind::Unsupported)) && !task.session().is_lost();
    if !is_answer || e.is(sys::VIR_ERR_ARGUMENT_UNSUPPORTED) {
        return no_agent(task, machine, e);
    }
    let info = AgentCommand::new("guest-info", &()).map_err(Failure::from).and_then(|info| {
        let answer = raw(machine, &info, LOOK_AGAIN).map_err(|e| no_agent(task, machine, e))?;
        Ok(AgentReply::parse(answer)?)
    });
    let is_taken = match info.and_then(|info| Ok(command.is_taken(&info)?)) {
        Ok(is_taken) => is_taken,
        Err(failure) => return failure,
    };
    let (kind, message) = match is_taken {
        true => (ErrorKind::InvalidState, format!("the guest agent of {} could not do {name}", task.resource())),
        false => (ErrorKind::Unsupported, format!("the guest agent of {} does not take {name} now", task.resource())),
    };
    let detail = printable_within(e.message(), SHOWN).to_string();
    task.error(kind, message).with_detail(detail).with_source(e).into()
}

/// The test driver invents what an agent or a neighbour table would say.
fn refuse_test(task: &Task<'_>) -> Result<(), Failure> {
    if task.address().kind() == Kind::Test {
        return Err(task.error(ErrorKind::Unsupported, "the test driver has no guests to ask").into());
    }
    Ok(())
}

/// A machine without an agent's channel has no agent, which is no fault of the host.
fn no_agent(task: &Task<'_>, machine: &Machine, e: LibvirtError) -> Failure {
    let is_missing = e.is(sys::VIR_ERR_ARGUMENT_UNSUPPORTED) || e.kind() == Some(ErrorKind::Unavailable);
    match task.unless_off(machine, e) {
        Failure::Libvirt(e) if is_missing && !task.session().is_lost() => {
            let message = format!("the guest agent of {} does not answer", task.resource());
            task.error(ErrorKind::Unavailable, message).with_source(e).into()
        }
        failure => failure,
    }
}

fn addresses(machine: &Machine, source: AddressSource) -> Result<Vec<GuestAddress>, LibvirtError> {
    let number = match source {
        AddressSource::Lease => address::LEASE,
        AddressSource::Agent => address::AGENT,
        AddressSource::Arp => address::ARP,
    };
    Ok(translate(address::of_domain(&machine.domain, number)?, source))
}

/// Leaves out loopback, and what is no address: from the agent, a guest says what it likes.
fn translate(interfaces: Vec<Interface>, source: AddressSource) -> Vec<GuestAddress> {
    let mut all = Vec::new();
    for interface in interfaces {
        let mac = interface.mac.as_deref().and_then(|mac| MacAddr::parse(mac).ok());
        for (text, prefix) in interface.addresses {
            let Ok(address) = text.parse::<IpAddr>() else { continue };
            if address.is_loopback() {
                continue;
            }
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = u8::try_from(prefix).ok().filter(|prefix| (1..=longest).contains(prefix));
            all.push(GuestAddress { address, prefix, mac, interface: interface.name.clone(), source });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addresses: &[(&str, u32)]) -> Vec<GuestAddress> {
        let addresses = addresses.iter().map(|&(text, prefix)| (text.to_owned(), prefix)).collect();
        let interface = Interface { name: Some("eth0".into()), mac: Some("52:54:00:00:00:01".into()), addresses };
        translate(vec![interface], AddressSource::Agent)
    }

    #[test]
    fn loopback_and_nonsense_are_left_out() {
        assert_eq!(told(&[("127.0.0.1", 8), ("::1", 128), ("999.1.1.1", 24), ("", 0)]), []);
    }

    #[test]
    fn an_address_keeps_its_prefix_when_it_can_be_one() {
        let all = told(&[("192.168.1.2", 24), ("fe80::1", 64), ("10.0.0.1", 0), ("10.0.0.2", 64)]);
        let prefixes: Vec<_> = all.iter().map(|a| a.prefix).collect();
        assert_eq!(prefixes, [Some(24), Some(64), None, None]);
        assert_eq!(all[0].mac, MacAddr::parse("52:54:00:00:00:01").ok());
    }
}
