//! The SSH transport against a real server, and against one that does what no proper server does.
#![allow(missing_docs, reason = "tests")]

mod algorithms;
mod fake;
mod helper;
mod host_keys;
mod logins;
mod real;
mod sshd;
