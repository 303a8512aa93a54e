//! Sockets that the host can reach.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use kvm_core::{ByteStream, Dial, Error, ErrorKind, Result};
use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::Connection;

/// Opens a channel to a socket of the host.
pub(super) async fn channel(connection: &Connection, to: &Dial) -> Result<Channel<Msg>> {
    match to {
        Dial::Unix(path) => {
            let path = path.to_str().filter(|path| path.starts_with('/') && !path.contains('\0'));
            let path = path.ok_or_else(|| Error::invalid("socket", "the socket is not an absolute path in UTF-8"))?;
            connection.unix(path).await
        }
        Dial::Tcp { host, port } => connection.tcp(host.as_str(), port.get()).await,
        other => Err(Error::new(ErrorKind::Unsupported, format!("no such kind of socket here: {other:?}"))),
    }
}

/// A channel as a stream, with a connection that is its own: one whose reader stops would hold up all others beside it.
pub(super) fn stream(channel: Channel<Msg>, connection: Connection) -> Box<dyn ByteStream> {
    Box::new(Dialled { stream: channel.into_stream(), _connection: connection })
}

/// A stream, and the connection that ends with it.
struct Dialled {
    stream: ChannelStream<Msg>,
    _connection: Connection,
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
