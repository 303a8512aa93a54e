//! Clones a machine beside itself and says how far it is: `clone [TARGET [VM]]`. For another host open that as well, and let
//! the operation reach it (`Catalogue::reaching`).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;

use kvm_clone::{CloneSpec, plan_clone};
use kvm_core::op::{Catalogue, Executor, MemoryStore, RunContext};
use kvm_core::{OnProgress, Progress, Result, SystemEntropy};
use kvm_vm::{PlanContext, Policy};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let host = kvm_examples::open(&args.next().unwrap_or_else(|| "mock:///demo".into())).await?;
    let vm = kvm_vm::resolve(&host, &args.next().unwrap_or_else(|| "build-01".into())).await?;

    let context = PlanContext { policy: &Policy::default(), entropy: &SystemEntropy };
    let clone = plan_clone(&host, &host, &vm, &CloneSpec::default(), &context).await?;
    let catalogue = Catalogue::new().with("clone.", kvm_clone::decode);
    let executor = Executor::new(Arc::new(MemoryStore::new()), catalogue, "example");
    let print = OnProgress(|progress: &Progress| {
        if let Progress::Step { title, outcome, .. } = progress {
            println!("{title}: {outcome:?}");
        }
    });
    let run = RunContext { host: &host, reporter: &print, cancel: &CancellationToken::new() };
    executor.run(clone.plan, run).await?;
    println!("{} is a copy of {}", clone.name, vm.name);
    Ok(())
}
