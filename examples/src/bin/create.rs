//! Creates a machine, waits until it runs, and deletes it with its disk: `create [TARGET [NAME]]`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;
use std::time::Duration;

use kvm_core::op::{Catalogue, Executor, MemoryStore, RunContext};
use kvm_core::{HypervisorExt, Result, Silent, SystemClock, SystemEntropy, VmName, VmState};
use kvm_vm::{CreateSpec, DeleteOptions, PlanContext, Policy, Running, Start, Volumes};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let host = kvm_examples::open(&args.next().unwrap_or_else(|| "mock:///demo".into())).await?;
    let name = VmName::parse(&args.next().unwrap_or_else(|| "example".into()))?;

    // What we want, what it means on this host, and what would be done about it.
    let mut spec = CreateSpec::new(name);
    spec.disks = vec!["1G".parse()?];
    spec.start = Start::Yes;
    let context = PlanContext { policy: &Policy::default(), entropy: &SystemEntropy };
    let create = kvm_vm::plan_create(&host, &spec, &context).await?;
    println!("{}", create.plan);

    // Done as an operation: with a FileStore instead, it would survive even a power cut.
    let executor = Executor::new(Arc::new(MemoryStore::new()), Catalogue::new().with("vm.", kvm_vm::decode), "example");
    let run = RunContext { host: &host, reporter: &Silent, cancel: &CancellationToken::new() };
    executor.run(create.plan, run).await?;
    let wait = host.hypervisor.wait_for(&create.id, &[VmState::Running], Duration::from_secs(60), &SystemClock);
    let vm = wait.await?;
    println!("{} is {}", vm.name, vm.state);

    let options = DeleteOptions { volumes: Volumes::Delete, running: Running::PowerOff };
    let delete = kvm_vm::plan_delete(&host, &vm, &options).await?;
    println!("{delete}");
    executor.run(delete, run).await?;
    println!("{} is gone", vm.name);
    Ok(())
}
