//! A TCP relay that rewrites nothing: through it a client learns the brokers' own addresses, which is what the trap must notice.

use std::thread::JoinHandle;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    Result,
    lab::{self, Lab, Side},
};

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
                        tokio::select! { () = accept(listener, target) => (), _ = stopped => () }
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

async fn accept(listener: TcpListener, target: impl Fn() -> String) {
    while let Ok((mut client, _)) = listener.accept().await {
        let target = target();
        tokio::spawn(async move {
            if let Ok(mut broker) = TcpStream::connect(target).await {
                drop(copy_bidirectional(&mut client, &mut broker).await);
            }
        });
    }
}
