//! Comfort on top of [`Hypervisor`] and [`Networks`], for every backend alike.

use std::future::{Future, poll_fn};
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Autostart, Clock, DeviceRef, Error, ErrorKind, Event, EventStream, Hypervisor, Networks, PowerAction, Resource,
    Result, View, VmId, VmName, VmRef, VmState, VmSummary, check_network,
};

/// How often a wait looks by itself, in case that a backend's events say less than its list.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Comfort on top of [`Hypervisor`].
#[async_trait]
pub trait HypervisorExt: Hypervisor {
    /// Finds a machine by its name. `NotFound`.
    async fn find_by_name(&self, name: &VmName) -> Result<VmSummary> {
        self.find(&VmRef::Name(name.clone())).await
    }

    /// Waits until the machine is in one of these states, and gives its summary then.
    ///
    /// It is woken by events and looks again every two seconds, so a change that no event tells is found, too.
    /// `Timeout` when it has not happened in time, `NotFound` when the machine is gone.
    async fn wait_for(&self, id: &VmId, states: &[VmState], timeout: Duration, clock: &dyn Clock) -> Result<VmSummary> {
        let deadline = clock.sleep(timeout);
        let wait = async {
            // Subscribed before the first look: what happens in between is not missed.
            let mut events = self.events().await?;
            loop {
                let vm = self.find(&VmRef::Id(*id)).await?;
                if states.contains(&vm.state) {
                    return Ok(vm);
                }
                concerning(&mut events, id, clock).await;
            }
        };
        tokio::select! {
            biased;
            found = wait => found,
            () = deadline => {
                let wanted: Vec<_> = states.iter().map(|s| s.as_str()).collect();
                Err(Error::new(ErrorKind::Timeout, format!("VM not {} in time", wanted.join(" or ")))
                    .on(Resource::Vm(id.to_string()))
                    .with_detail(format!("waited {} s", timeout.as_secs())))
            }
        }
    }

    /// Waits until a running guest has given up a device that it was asked for with
    /// [`Devices::detach`](crate::Devices::detach). A machine that goes off has given up all of them.
    ///
    /// `Timeout` when the guest has not done so in time: the request stands, and it may still obey. `NotFound` when the
    /// machine is gone.
    async fn wait_until_detached(
        &self,
        id: &VmId,
        device: &DeviceRef,
        timeout: Duration,
        clock: &dyn Clock,
    ) -> Result<()> {
        let deadline = clock.sleep(timeout);
        let wait = async {
            let mut events = self.events().await?;
            loop {
                let is_plugged_in = device.find(&self.definition(id, View::LIVE).await?).is_some();
                if !is_plugged_in || !self.find(&VmRef::Id(*id)).await?.state.is_active() {
                    return Ok(());
                }
                concerning(&mut events, id, clock).await;
            }
        };
        tokio::select! {
            biased;
            gone = wait => gone,
            () = deadline => {
                Err(Error::new(ErrorKind::Timeout, format!("the guest has not given up {device} in time"))
                    .on(Resource::Vm(id.to_string()))
                    .with_detail(format!("waited {} s; it was asked and may still obey", timeout.as_secs())))
            }
        }
    }

    /// Starts a machine and waits until it runs. As [`Hypervisor::power`] and [`wait_for`](Self::wait_for).
    async fn start_and_wait(&self, id: &VmId, timeout: Duration, clock: &dyn Clock) -> Result<VmSummary> {
        self.power(id, PowerAction::Start).await?;
        self.wait_for(id, &[VmState::Running], timeout, clock).await
    }

    /// Asks the guest to shut down and waits until it is off. As [`Hypervisor::power`] and
    /// [`wait_for`](Self::wait_for); a guest that refuses ends as `Timeout`.
    async fn shutdown_and_wait(&self, id: &VmId, timeout: Duration, clock: &dyn Clock) -> Result<VmSummary> {
        self.power(id, PowerAction::Shutdown).await?;
        self.wait_for(id, &[VmState::Off], timeout, clock).await
    }
}

impl<T: Hypervisor + ?Sized> HypervisorExt for T {}

/// Comfort on top of [`Networks`].
#[async_trait]
pub trait NetworksExt: Networks {
    /// Defines a network and starts it. As [`Networks::define`], [`set_autostart`](Networks::set_autostart) and
    /// [`start`](Networks::start); when a later part goes wrong, nothing stays defined.
    async fn create(&self, doc: &kvm_xml::Network, autostart: Autostart) -> Result<()> {
        let name = check_network(doc)?;
        self.define(doc).await?;
        let begun = async {
            if autostart == Autostart::On {
                self.set_autostart(&name, autostart).await?;
            }
            // Last: what was not started can be undefined.
            self.start(&name).await
        };
        let Err(e) = begun.await else { return Ok(()) };
        Err(match self.undefine(&name).await {
            Ok(()) => e,
            Err(left) => e.with_detail(format!("its definition could not be taken back: {left}")),
        })
    }
}

impl<T: Networks + ?Sized> NetworksExt for T {}

/// Returns at the next event that may concern this machine, or when it is time to look anyway.
async fn concerning(events: &mut EventStream, id: &VmId, clock: &dyn Clock) {
    let news = async {
        loop {
            match next(events).await {
                Some(Event::Vm(event)) if event.vm != *id => {}
                Some(_) => return,
                // Ended: only looking is left.
                None => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = news => {}
        () = clock.sleep(LOOK_AGAIN) => {}
    }
}

fn next(events: &mut EventStream) -> impl Future<Output = Option<Event>> {
    poll_fn(|cx| events.as_mut().poll_next(cx))
}
