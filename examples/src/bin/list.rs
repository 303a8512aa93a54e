//! Lists the machines of a host: `list [TARGET]`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use kvm_core::{Result, VmFilter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "mock:///demo".into());
    let host = kvm_examples::open(&target).await?;
    for vm in host.hypervisor.list(&VmFilter::all()).await? {
        let memory = vm.memory.map_or_else(|| "–".into(), |m| m.to_string());
        println!("{:<20} {:<10} {memory}", vm.name, vm.state);
    }
    Ok(())
}
