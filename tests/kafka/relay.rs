//! A TCP relay that rewrites nothing: through it a client learns the brokers' own addresses, which is what the trap must notice.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    Result,
    lab::{self, Lab, Side},
};

/// What went over one connection.
#[derive(Default)]
pub(crate) struct Recorded {
    /// From the client.
    pub(crate) requests: Vec<u8>,
    /// From the broker.
    pub(crate) responses: Vec<u8>,
}

/// The connections of a relay, each with what went over it.
pub(crate) type Tap = Arc<Mutex<Vec<Arc<Mutex<Recorded>>>>>;

/// A running relay; dropping it closes its port and its connections.
pub(crate) struct Relay {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `listen` beside the brokers and connects each client to what `target` says at that moment.
    pub(crate) fn start(
        lab: &Lab,
        listen: String,
        target: impl Fn() -> String + Send + 'static,
    ) -> Result<Self> {
        Self::recording(lab, listen, target, Tap::default())
    }

    /// The same, and keeps what goes over each connection.
    pub(crate) fn recording(
        lab: &Lab,
        listen: String,
        target: impl Fn() -> String + Send + 'static,
        tap: Tap,
    ) -> Result<Self> {
        let namespace = lab.namespace(Side::Brokers);
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let started = lab::enter(&namespace)
                .and_then(|()| Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?));
            let runtime = match started {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                match TcpListener::bind(listen).await {
                    Ok(listener) => {
                        drop(ready.send(Ok(())));
                        tokio::select! { () = accept(listener, target, tap) => (), _ = stopped => () }
                    }
                    Err(error) => drop(ready.send(Err(error.into()))),
                }
            });
        });
        listening.recv()??;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, target: impl Fn() -> String, tap: Tap) {
    while let Ok((client, _)) = listener.accept().await {
        let target = target();
        let recorded = Arc::new(Mutex::new(Recorded::default()));
        if let Ok(mut connections) = tap.lock() {
            connections.push(Arc::clone(&recorded));
        }
        tokio::spawn(async move {
            let Ok(broker) = TcpStream::connect(target).await else { return };
            let ((mut from_client, mut to_client), (mut from_broker, mut to_broker)) =
                (client.into_split(), broker.into_split());
            let requests = copy(&mut from_client, &mut to_broker, |bytes| {
                recorded.lock().is_ok_and(|mut recorded| {
                    recorded.requests.extend_from_slice(bytes);
                    true
                })
            });
            let responses = copy(&mut from_broker, &mut to_client, |bytes| {
                recorded.lock().is_ok_and(|mut recorded| {
                    recorded.responses.extend_from_slice(bytes);
                    true
                })
            });
            drop(tokio::join!(requests, responses));
        });
    }
}

/// Copies to the end, which it passes on; `keep` sees each piece before it goes out.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    keep: impl Fn(&[u8]) -> bool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let piece = buffer.get(..read).unwrap_or_default();
        if !keep(piece) {
            return Ok(());
        }
        to.write_all(piece).await?;
    }
}
