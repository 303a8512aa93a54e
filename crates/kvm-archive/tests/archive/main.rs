//! Packages: what is written is read again, and what strangers make is refused.

mod build;
mod hostile;
mod ovf;
mod round_trip;
