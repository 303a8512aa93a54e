//! Follows what happens on a host: `follow [TARGET [COUNT]]`. Ends after COUNT events, or never.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use futures_util::StreamExt as _;
use kvm_core::{Event, PowerAction, Result, VmFilter, VmState};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let target = args.next().unwrap_or_else(|| "mock:///demo".into());
    let count = args.next().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let host = kvm_examples::open(&target).await?;
    let mut events = host.hypervisor.events().await?;

    // On the simulated host nobody else makes anything happen, so we do.
    if target.starts_with("mock:") {
        let running = VmFilter { states: vec![VmState::Running] };
        if let Some(vm) = host.hypervisor.list(&running).await?.first() {
            host.hypervisor.power(&vm.id, PowerAction::Suspend).await?;
            host.hypervisor.power(&vm.id, PowerAction::Resume).await?;
        }
    }
    let mut seen = 0;
    while seen < count
        && let Some(event) = events.next().await
    {
        seen += 1;
        match event {
            Event::Vm(event) => println!("{:<20} {}", event.name, event.what.as_str()),
            // Whoever keeps a picture of the host lists it again now.
            Event::Resynced => println!("connected again after an interruption"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
