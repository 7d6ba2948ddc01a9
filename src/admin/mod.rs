//! The admin address: probes, metrics, and what the gateway does; what changes something needs a token.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::net::TcpListener;

mod guard;
mod page;
mod respond;
mod serve;
pub mod state;

use guard::Guard;

/// Where the admin address is unless the configuration says otherwise.
pub const BIND_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9910);

/// How the admin address is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is listened on; `None` turns it off.
    pub bind: Option<SocketAddr>,
    /// Names, beside `localhost` and loopback addresses, by which a loopback address may be called.
    pub hosts: Vec<String>,
    /// What readers from elsewhere must bring for everything but the probes and `/metrics`. Without one
    /// these pages are closed to them.
    pub token: Option<SecretString>,
}

impl Default for Options {
    fn default() -> Self {
        Self { bind: Some(BIND_DEFAULT), hosts: Vec::new(), token: None }
    }
}

/// Why the admin address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not the machine's.
    #[error("cannot listen on {address}, the admin address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// An admin address that is listened on and not yet served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
}

/// Who may ask what. A clone is the same.
#[derive(Clone, Debug)]
pub struct Access {
    bound: IpAddr,
    guard: Arc<ArcSwap<Guard>>,
}

impl Access {
    /// Takes other names and another token from now on.
    pub fn change(&self, options: &Options) {
        self.guard.store(Arc::new(Guard::new(self.bound, &options.hosts, options.token.clone())));
    }
}

/// Listens on the admin address, if there is one. Must be called within a tokio runtime.
///
/// # Errors
/// [`Error::Bind`].
pub async fn bind(options: &Options) -> Result<Option<Bound>, Error> {
    let Some(address) = options.bind else { return Ok(None) };
    let fault = |source| Error::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let bound = address.ip();
    let guard = Guard::new(bound, &options.hosts, options.token.clone());
    let access = Access { bound, guard: Arc::new(ArcSwap::from_pointee(guard)) };
    Ok(Some(Bound { listener, address, access }))
}

impl Bound {
    /// The real address, whatever port was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who may ask what.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Serves until `stop` is done; what is being answered then is cut off. Run it on the control runtime.
    pub async fn serve(self, state: state::State, stop: impl Future<Output = ()>) {
        serve::run(self.listener, respond::Pages { state, access: self.access }, stop).await;
    }
}

#[cfg(test)]
mod tests;
