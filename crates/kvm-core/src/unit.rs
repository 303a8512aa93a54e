//! Amounts: bytes, memory, virtual CPUs, bandwidth and durations, read as people write them.

mod amount;
mod bandwidth;
mod bytes;
mod duration;
mod vcpu;

pub use bandwidth::Bandwidth;
pub use bytes::{Bytes, MemoryUnit, parse_memory, parse_memory_with, parse_size};
pub use duration::parse_duration;
pub use vcpu::VcpuCount;
