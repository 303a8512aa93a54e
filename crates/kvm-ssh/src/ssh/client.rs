//! Connections: reaching the port, agreeing on keys, judging the host's key, logging in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use backon::BackoffBuilder as _;
use kvm_core::{ByteStream, Clock, Error, ErrorKind, Resource, Result};
use russh::client::{ChannelOpenHandle, Config, DisconnectReason, Handle, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, Names, Preferred, SshId};
use tokio::net::TcpStream;

use super::algorithms;
use super::error::{Fault, farewell, host_error, ssh_error};
use super::host_key::{HostKey, Judge};
use super::known_hosts::KnownHosts;
use super::login;
use super::options::SshOptions;
use super::prompt::Answers;

/// The window of a channel: how much a host may send before we have read it, and so the most that waits in memory. A stream
/// is as fast as a window in the time to the host and back: 400 MB/s where that takes 10 ms. OpenSSH takes 2 MiB from us, so
/// what goes on to another host gains nothing by more.
const WINDOW: u32 = 4 << 20;
/// The largest piece of a stream that a host may send at once.
const PACKET: u32 = 65_535;
/// How often a connection that says nothing is asked whether it is still there, within the time of a stall.
const KEEPALIVES: u32 = 3;

/// A connection on which somebody is logged in, and those through which it leads.
pub(super) struct Connection {
    handle: Handle<Client>,
    shown: String,
    stall: std::time::Duration,
    _through: Option<Box<Connection>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.shown)
    }
}

impl Connection {
    /// Connects and logs in, through jump hosts if there are any. What is refused or breaks off before the login is
    /// tried again, after growing pauses.
    pub(super) async fn open(options: &SshOptions, answers: &Answers, clock: &dyn Clock) -> Result<Self> {
        let through = match &options.jump {
            Some(jump) => Some(Box::new(Self::open_boxed(jump, answers, clock).await?)),
            None => None,
        };
        let mut handle = agree_again(options, through.as_deref(), clock).await?;
        login::log_in(&mut handle, options, answers).await?;
        Ok(Self { handle, shown: options.shown(), stall: options.timeouts.stall, _through: through })
    }

    /// The same behind a pointer, so that it can call itself.
    fn open_boxed<'a>(
        options: &'a SshOptions,
        answers: &'a Answers,
        clock: &'a dyn Clock,
    ) -> Pin<Box<dyn Future<Output = Result<Self>> + Send + 'a>> {
        Box::pin(Self::open(options, answers, clock))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// How the login is told to people.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// How long one request may stay without an answer.
    pub(super) fn stall(&self) -> std::time::Duration {
        self.stall
    }

    /// Waits for the answer to one request.
    pub(super) async fn answer<T>(&self, request: impl Future<Output = Result<T, russh::Error>>) -> Result<T> {
        match tokio::time::timeout(self.stall, request).await {
            Ok(answer) => answer.map_err(|e| ssh_error(&self.shown, e)),
            Err(_) => Err(host_error(ErrorKind::Timeout, &self.shown, "did not answer in time")),
        }
    }

    pub(super) async fn session(&self) -> Result<Channel<Msg>> {
        self.answer(self.handle.channel_open_session()).await
    }

    pub(super) async fn unix(&self, path: &str) -> Result<Channel<Msg>> {
        self.answer(self.handle.channel_open_direct_streamlocal(path)).await
    }

    pub(super) async fn tcp(&self, host: &str, port: u16) -> Result<Channel<Msg>> {
        // The originator is for the server's log, and nobody is behind us.
        self.answer(self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)).await
    }
}

/// The key that the host shows to this offer, without any login; `None` offers what a login would. Nothing is said about
/// whether it may be trusted.
pub(super) async fn shown_key(
    options: &SshOptions,
    offer: Option<Preferred>,
    answers: &Answers,
    clock: &dyn Clock,
) -> Result<HostKey> {
    let through = match &options.jump {
        Some(jump) => Some(Connection::open_boxed(jump, answers, clock).await?),
        None => None,
    };
    let stream = reach(options, through.as_ref()).await?;
    let seen = Arc::default();
    let client = Client { check: Check::Show(Arc::clone(&seen)), shown: options.shown(), farewell: Arc::default() };
    let offer = match offer {
        Some(offer) => offer,
        None => {
            let known = KnownHosts::read(&options.known_hosts).await?;
            algorithms::offer(&known.algorithms(&options.known_name()), false)
        }
    };
    let refused = agree(options, offer, client, stream).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, refused) {
        (Some(key), _) => Ok(key),
        (None, Err(e)) => Err(e),
        (None, Ok(_)) => Err(host_error(ErrorKind::Corrupt, &options.shown(), "showed no host key")),
    }
}

/// Reaches the host and agrees on keys with it; tries again what may be better in a moment.
async fn agree_again(options: &SshOptions, through: Option<&Connection>, clock: &dyn Clock) -> Result<Handle<Client>> {
    let pauses = backon::ExponentialBuilder::default()
        .with_min_delay(std::time::Duration::from_millis(250))
        .with_max_delay(std::time::Duration::from_secs(5))
        .with_max_times(options.retries)
        .with_jitter();
    let mut pauses = pauses.build();
    loop {
        match agree_once(options, through, clock).await {
            Err(e) if e.kind() == ErrorKind::Unavailable && through.is_none_or(|t| !t.is_closed()) => {
                match pauses.next() {
                    Some(pause) => clock.sleep(pause).await,
                    None => return Err(e),
                }
            }
            done => return done,
        }
    }
}

async fn agree_once(options: &SshOptions, through: Option<&Connection>, clock: &dyn Clock) -> Result<Handle<Client>> {
    // Anew each time: somebody may just have added the key.
    let known = Arc::new(KnownHosts::read(&options.known_hosts).await?);
    let name = options.known_name();
    let offer = algorithms::offer(&known.algorithms(&name), known.has_authority(&name));
    let now = u64::try_from(clock.now().as_second()).unwrap_or_default();
    let judge = Judge::new(options, Arc::clone(&known), now);
    let client = Client { check: Check::Judge(Box::new(judge)), shown: options.shown(), farewell: Arc::default() };
    let stream = reach(options, through).await?;
    agree(options, offer, client, stream).await
}

async fn reach(options: &SshOptions, through: Option<&Connection>) -> Result<Box<dyn ByteStream>> {
    let (host, port) = (options.host.as_str(), options.port.get());
    let limit = options.timeouts.connect;
    let late = |_| {
        let text = format!("{} was not reached within {limit:?}", options.shown());
        Error::new(ErrorKind::Timeout, text).on(Resource::Host(options.shown()))
    };
    if let Some(through) = through {
        let channel = tokio::time::timeout(limit, through.tcp(host, port)).await.map_err(late)??;
        return Ok(Box::new(channel.into_stream()));
    }
    let connected = tokio::time::timeout(limit, async {
        let addresses: Vec<_> =
            tokio::net::lookup_host((host, port)).await.map_err(|e| (ErrorKind::NotFound, e))?.collect();
        TcpStream::connect(&addresses[..]).await.map_err(|e| (connect_kind(&e), e))
    });
    let stream = connected.await.map_err(late)?.map_err(|(kind, e)| {
        let text = match kind {
            ErrorKind::NotFound => format!("no address is known for {host}"),
            _ => format!("cannot connect to {}", options.shown()),
        };
        Error::new(kind, text).on(Resource::Host(options.shown())).with_source(e)
    })?;
    // Small messages are not held back. Without it everything works as well, only slower.
    let _slower = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

fn connect_kind(e: &io::Error) -> ErrorKind {
    match e.kind() {
        // That no neighbour answers is a timeout that the kernel has waited for. The next try would wait as long.
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorKind::Timeout
        }
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

/// The handshake: versions, algorithms, keys, and whether the host's is its own.
async fn agree(
    options: &SshOptions,
    preferred: Preferred,
    client: Client,
    stream: Box<dyn ByteStream>,
) -> Result<Handle<Client>> {
    let timeouts = options.timeouts;
    let config = Config {
        client_id: SshId::Standard(concat!("SSH-2.0-kvm-manager_", env!("CARGO_PKG_VERSION")).into()),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred,
        keepalive_interval: Some(timeouts.stall / KEEPALIVES),
        keepalive_max: KEEPALIVES as usize,
        nodelay: true,
        ..Config::default()
    };
    let farewell = Arc::clone(&client.farewell);
    let shown = options.shown();
    let agreed = russh::client::connect_stream(Arc::new(config), stream, client);
    match tokio::time::timeout(timeouts.handshake, agreed).await {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(fault)) => {
            let e = fault.into_error(&shown);
            let said = farewell.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(match said {
                Some(text) => e.with_note(&format!("it said: {text}")),
                None => e,
            })
        }
        Err(_) => {
            let text = format!("{shown} did not finish the handshake within {:?}", timeouts.handshake);
            Err(Error::new(ErrorKind::Timeout, text).on(Resource::Host(shown)))
        }
    }
}

/// What answers to the host. It takes nothing that the host begins by itself: no channel, no forwarding.
pub(super) struct Client {
    check: Check,
    shown: String,
    farewell: Arc<Mutex<Option<String>>>,
}

enum Check {
    Judge(Box<Judge>),
    /// Keeps the key and goes no further.
    Show(Arc<Mutex<Option<HostKey>>>),
}

impl Handler for Client {
    type Error = Fault;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        match &self.check {
            Check::Judge(judge) => judge.check(key).map(|()| true).map_err(Fault::Ours),
            Check::Show(seen) => {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = HostKey::of(key.public_key().key_data());
                Ok(false)
            }
        }
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, names: &Names, _: &mut Session) -> Result<(), Fault> {
        if algorithms::can_be_cut(names) {
            let text = "knows neither strict key exchange nor AES-GCM, so that messages could be cut away unseen";
            let e = host_error(ErrorKind::Denied, &self.shown, text);
            return Err(Fault::Ours(e.with_detail("update its SSH server (OpenSSH 9.6 or later)")));
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = farewell(&reason);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Err(Fault::Peer(russh::Error::Disconnect)),
            DisconnectReason::Error(e) => Err(e),
        }
    }

    // The library's own versions of these take what comes. A handle that is dropped refuses.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    fn options() -> SshOptions {
        SshOptions::new("kvm1".parse().unwrap(), "root".parse().unwrap())
    }

    /// The error that ends a handshake with what this peer does.
    async fn with_peer<F>(peer: impl FnOnce(tokio::io::DuplexStream) -> F) -> Error
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let peer = tokio::spawn(peer(theirs));
        let client = Client {
            check: Check::Judge(Box::new(Judge::new(&options(), Arc::default(), 0))),
            shown: options().shown(),
            farewell: Arc::default(),
        };
        let agreed = agree(&options(), algorithms::offer(&[], false), client, Box::new(ours)).await;
        peer.abort();
        agreed.err().expect("no peer of these is one to agree with")
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_a_timeout_after_fifteen_seconds() {
        let began = Instant::now();
        let e = with_peer(|mut stream| async move {
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        assert_eq!(e.await.kind(), ErrorKind::Timeout);
        assert_eq!(began.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_sends_a_byte_per_second_is_a_timeout_as_well() {
        let began = Instant::now();
        let e = with_peer(|mut stream| async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            for byte in b"SSH-2.0-slow_but_steady_and_polite".iter().cycle() {
                seconds.tick().await;
                stream.write_all(&[*byte]).await.unwrap();
            }
        });
        assert_eq!(e.await.kind(), ErrorKind::Timeout);
        assert_eq!(began.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_lines_before_the_version_end_the_connection_early() {
        let e = with_peer(|mut stream| async move {
            // As much as it takes; the client hangs up long before 10 MiB.
            while stream.write_all(&[b"welcome to this host\r\n".as_slice(); 100].concat()).await.is_ok() {}
        });
        assert_eq!(e.await.kind(), ErrorKind::Corrupt);
        let e = with_peer(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} });
        assert_eq!(e.await.kind(), ErrorKind::Corrupt);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_of_four_gigabytes_is_refused_before_it_is_read() {
        for length in [u32::MAX, 1 << 30, 1 << 20] {
            let e = with_peer(move |mut stream| async move {
                stream.write_all(b"SSH-2.0-huge\r\n").await.unwrap();
                stream.write_all(&length.to_be_bytes()).await.unwrap();
                while stream.write_all(&[0; 4096]).await.is_ok() {}
            });
            assert_eq!(e.await.kind(), ErrorKind::Corrupt, "{length}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn empty_frames_without_end_do_not_keep_a_handshake_open() {
        let began = Instant::now();
        let e = with_peer(|mut stream| async move {
            stream.write_all(b"SSH-2.0-empty\r\n").await.unwrap();
            let mut moments = tokio::time::interval(Duration::from_millis(100));
            while stream.write_all(&[0; 4]).await.is_ok() {
                moments.tick().await;
            }
        });
        // Told as a broken connection, or as one that stands still.
        assert!(matches!(e.await.kind(), ErrorKind::Unavailable | ErrorKind::Timeout));
        assert!(began.elapsed() <= Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_up_at_once_is_unavailable() {
        assert_eq!(with_peer(|stream| async move { drop(stream) }).await.kind(), ErrorKind::Unavailable);
    }

    /// A clock on which no time passes; it keeps the pauses.
    #[derive(Debug, Default)]
    struct Pauses(Mutex<Vec<Duration>>);

    #[async_trait::async_trait]
    impl Clock for Pauses {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        async fn sleep(&self, duration: Duration) {
            self.0.lock().unwrap().push(duration);
        }
    }

    #[tokio::test]
    async fn what_may_be_better_in_a_moment_is_tried_again_after_growing_pauses() {
        // A port that was free a moment ago, and on which nobody listens.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = SshOptions::new("127.0.0.1".parse().unwrap(), "root".parse().unwrap());
        options.port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
        drop(listener);
        let pauses = Pauses::default();
        let e = agree_again(&options, None, &pauses).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        let pauses = pauses.0.into_inner().unwrap();
        assert_eq!(pauses.len(), 3, "{pauses:?}");
        assert!(pauses.iter().all(|pause| (250..=5_000).contains(&pause.as_millis())), "{pauses:?}");
        assert!(pauses[2] > pauses[0], "{pauses:?}");
    }

    #[test]
    fn a_host_that_the_kernel_does_not_find_is_not_reached_as_one_that_says_nothing() {
        for kind in [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable, io::ErrorKind::TimedOut] {
            assert_eq!(connect_kind(&kind.into()), ErrorKind::Timeout);
        }
        assert_eq!(connect_kind(&io::ErrorKind::ConnectionRefused.into()), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_host_that_has_no_address_is_not_asked_for_again() {
        let options = SshOptions::new("host.invalid".parse().unwrap(), "root".parse().unwrap());
        let pauses = Pauses::default();
        let e = agree_again(&options, None, &pauses).await.err().unwrap();
        assert_eq!((e.kind(), pauses.0.into_inner().unwrap().len()), (ErrorKind::NotFound, 0));
    }
}
