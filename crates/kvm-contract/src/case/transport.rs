//! Transports: files, programs and sockets of a host.

use std::time::Duration;

use kvm_core::{Bytes, Dial, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::case::{Failure, cases, refused, same};
use crate::rig::TransportBench;

const LIMIT: Bytes = Bytes::from_mib(1);
const MOMENT: Duration = Duration::from_secs(10);

cases! { CASES in "transport" on TransportBench;
    /// A file is read as it was written, whatever bytes it holds; writing again replaces all of it.
    async fn a_file_is_read_as_it_was_written(bench) {
        let path = bench.directory.join("a file with spaces and ünïcode");
        for data in [&b"first, and longer than the second"[..], b"sec\0nd\xff", b""] {
            bench.transport.write_file(&path, data, 0o600).await?;
            same("content", bench.transport.read_file(&path, LIMIT).await?, data.to_vec())?;
        }
        Ok(())
    }

    /// A file that is not there is not found.
    async fn a_file_that_is_not_there_is_not_found(bench) {
        refused(bench.transport.read_file(&bench.directory.join("absent"), LIMIT).await, ErrorKind::NotFound)
    }

    /// A file that is larger than the limit is not read; one that is as large is.
    async fn a_file_over_the_limit_is_invalid(bench) {
        let path = bench.directory.join("file");
        bench.transport.write_file(&path, b"12345", 0o600).await?;
        refused(bench.transport.read_file(&path, Bytes::new(4)).await, ErrorKind::InvalidInput)?;
        same("content", bench.transport.read_file(&path, Bytes::new(5)).await?, b"12345".to_vec())
    }

    /// A directory that is not there is not made for a file.
    async fn a_directory_that_is_not_there_is_not_made(bench) {
        let path = bench.directory.join("absent").join("file");
        refused(bench.transport.write_file(&path, b"", 0o600).await, ErrorKind::NotFound)
    }

    /// A program that ends with a status other than zero is an answer, not an error.
    async fn a_failing_program_is_an_answer(bench) {
        let argv: Vec<_> = bench.failing.iter().map(String::as_str).collect();
        let output = bench.transport.run(&argv, MOMENT).await?;
        same("status", output.status, Some(3))?;
        same("output", output.stdout.trim_ascii(), b"contract")?;
        same("complaint", output.stderr.trim_ascii(), b"contract")
    }

    /// A program that is not there is not found.
    async fn a_program_that_is_not_there_is_not_found(bench) {
        refused(bench.transport.run(&["/nonexistent/contract-program", "-x"], MOMENT).await, ErrorKind::NotFound)
    }

    /// A program that does not end in time is a timeout.
    async fn an_endless_program_is_a_timeout(bench) {
        let argv: Vec<_> = bench.endless.iter().map(String::as_str).collect();
        refused(bench.transport.run(&argv, Duration::from_millis(300)).await, ErrorKind::Timeout)
    }

    /// A socket is reached both ways, and its end is seen.
    async fn a_socket_is_reached_both_ways(bench) {
        let mut stream = bench.transport.dial(&Dial::Unix(bench.echo.clone())).await?;
        let trouble = |e: std::io::Error| Failure::new(format_args!("unexpected error: {e}"));
        stream.write_all(b"there and back").await.map_err(trouble)?;
        stream.shutdown().await.map_err(trouble)?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.map_err(trouble)?;
        same("what comes back", back, b"there and back".to_vec())
    }

    /// A socket on which nobody listens is unavailable.
    async fn a_silent_socket_is_unavailable(bench) {
        let dial = Dial::Unix(bench.directory.join("nobody.sock"));
        refused(bench.transport.dial(&dial).await.map(drop), ErrorKind::Unavailable)
    }
}
