//! The simulated host's transport keeps the contract of transports.
#![allow(missing_docs, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Time, TransportBench, TransportRig};
use kvm_core::{Dial, Output, Result};
use kvm_mock::{Mock, Script, TokioClock};
use tokio::io::{copy, split};

fn main() {
    kvm_contract::run_transport(MockRig, "", &Arguments::from_args()).exit();
}

struct MockRig;

#[async_trait]
impl TransportRig for MockRig {
    fn time(&self) -> Time {
        Time::Paused
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }

    async fn bench(&self, _: &'static str) -> Result<TransportBench> {
        let clock = TokioClock::starting_at("2030-01-01T00:00:00Z".parse().expect("a time"));
        let mock = Mock::empty(Arc::new(clock))?;
        let failing = vec!["/usr/bin/fail".to_owned(), "--status=3".to_owned()];
        let endless = vec!["/usr/bin/sleep".to_owned(), "3600".to_owned()];
        let said = b"contract\n".to_vec();
        mock.add_program(Script {
            argv: failing.clone(),
            output: Output { status: Some(3), stdout: said.clone(), stderr: said },
            takes: Duration::ZERO,
        });
        mock.add_program(Script {
            argv: endless.clone(),
            output: Output { status: Some(0), stdout: Vec::new(), stderr: Vec::new() },
            takes: Duration::from_secs(3600),
        });
        let flood = vec!["/usr/bin/flood".to_owned()];
        mock.add_program(Script {
            argv: flood.clone(),
            output: Output { status: Some(0), stdout: vec![0; 17 << 20], stderr: Vec::new() },
            takes: Duration::ZERO,
        });
        let echo = "/tmp/echo.sock";
        let mut listener = mock.listen(Dial::Unix(echo.into()));
        let server = tokio::spawn(async move {
            while let Some(stream) = listener.accept().await {
                let (mut read, mut write) = split(stream);
                copy(&mut read, &mut write).await.expect("an echo");
            }
        });
        Ok(TransportBench {
            transport: Arc::new(mock),
            has_helper: false,
            directory: "/tmp".into(),
            failing,
            endless,
            flood,
            echo: echo.into(),
            keep: Box::new(server),
        })
    }
}
