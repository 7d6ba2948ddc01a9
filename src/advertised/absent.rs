//! In the place of the Kubernetes client where the gateway is built without it: the configuration refuses what would
//! need it.

use super::{Error, Follower, Found, Service};

/// Says so, and is done.
pub(super) async fn follow(follower: &Follower) {
    follower.failed(&Error::NotBuilt);
}

pub(super) async fn look(_service: &Service) -> Result<Found, Error> {
    Err(Error::NotBuilt)
}
