//! Rewrites the addresses in one response. Bytes in, bytes out: what a patch does not change is copied
//! as it came, never decoded and encoded again.

pub mod api_versions;
pub mod describe_quorum;
pub mod endpoints;
pub mod find_coordinator;
pub mod nodes;
pub mod stream;

use crate::cluster::{Broker, Routes};
use crate::kafka::api::{Api, Patch};
use crate::kafka::wire::{self, Reader};
use crate::kafka::{LENGTH_BYTES, NodeId};

/// A response that carries `NodeEndpoints` is rewritten exactly up to this many bytes; beyond it the
/// list is emptied at equal length while the records stream ([`stream`]).
pub const EXACT_BYTES_MAX: usize = 64 * 1024;

/// The most bytes that any other patch holds: a broker list, a coordinator list, the API versions.
pub const HELD_BYTES_MAX: usize = 1024 * 1024;

/// The most nodes that one list may name.
pub const NODES_MAX: u32 = 1_000;

/// Why a response cannot be rewritten, and therefore must not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not the message that their header promises.
    #[error("the response does not follow its message definition: {0}")]
    Malformed(&'static str),
    /// A list names more than [`NODES_MAX`] nodes.
    #[error("the response names {0} nodes, more than the 1000 that are accepted")]
    TooManyNodes(u32),
    /// What a patch must hold is larger than [`HELD_BYTES_MAX`].
    #[error("the response needs more than 1 MiB to be rewritten")]
    TooLarge,
}

/// What a patch knows and what it finds out.
#[derive(Debug)]
pub struct Context<'a> {
    /// The addresses that clients are told.
    pub routes: &'a Routes,
    /// Whether APIs that the table does not know are advertised.
    pub pass_unknown_apis: bool,
    /// Brokers that the response named, as their cluster advertises them.
    pub learned: Vec<Broker>,
    /// Nodes that were left out because no range holds their id.
    pub unroutable: Vec<NodeId>,
    /// Whether anything was changed.
    pub changed: bool,
}

impl<'a> Context<'a> {
    /// A context in which nothing has been found yet.
    pub fn new(routes: &'a Routes, pass_unknown_apis: bool) -> Self {
        Self { routes, pass_unknown_apis, learned: Vec::new(), unroutable: Vec::new(), changed: false }
    }

    /// Remembers a node that clients are not told of.
    fn leave_out(&mut self, node: NodeId) {
        if self.unroutable.len() < NODES_MAX as usize && !self.unroutable.contains(&node) {
            self.unroutable.push(node);
        }
    }
}

/// Reads that run out of bytes of a frame that is complete are malformed.
fn complete(error: wire::Error) -> Error {
    match error {
        wire::Error::Short => Error::Malformed("it ends in the middle of a field"),
        wire::Error::Malformed(what) => Error::Malformed(what),
    }
}

/// Rewrites a response that is at hand as a whole, with its length, and returns the frame to send, or
/// `None` where it may pass as it is.
///
/// # Errors
/// Any [`Error`]: the response must not pass.
pub fn whole(
    patch: Patch,
    api: &Api,
    version: i16,
    frame: &[u8],
    context: &mut Context<'_>,
) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = Reader::new(frame);
    header(&mut reader, api, version).map_err(complete)?;
    if !endpoints::are_there(patch, version, reader.clone())? {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(frame.len() + 128);
    out.extend_from_slice(frame.get(..reader.position()).unwrap_or_default());
    let mut body = Body { frame, reader, out, flexible: api.is_flexible(version), version };
    match patch {
        Patch::ApiVersions => api_versions::patch(&mut body, context),
        Patch::Metadata => nodes::metadata(&mut body, context),
        Patch::DescribeCluster => nodes::describe_cluster(&mut body, context),
        Patch::FindCoordinator => find_coordinator::patch(&mut body, context),
        Patch::DescribeQuorum => describe_quorum::patch(&mut body, context),
        Patch::Produce | Patch::Fetch | Patch::ShareFetch | Patch::ShareAcknowledge => {
            endpoints::patch(patch, &mut body, context)
        }
    }?;
    body.copy_rest();
    let mut out = body.out;
    set_length(&mut out, 0)?;
    Ok(context.changed.then_some(out))
}

/// Rewrites the start of a Metadata response, up to and with the broker list; the topics stay where
/// they are. Returns how many bytes of the frame that takes, and what to send in their place.
///
/// # Errors
/// `Ok(None)` asks for a longer window; an [`Error`] forbids the response.
pub fn metadata_prefix(
    api: &Api,
    version: i16,
    window: &[u8],
    frame_bytes: u64,
    context: &mut Context<'_>,
) -> Result<Option<(usize, Vec<u8>)>, Error> {
    let mut reader = Reader::new(window);
    match header(&mut reader, api, version) {
        Ok(()) => {}
        Err(wire::Error::Short) if (window.len() as u64) < frame_bytes => return Ok(None),
        Err(error) => return Err(complete(error)),
    }
    let mut out = Vec::with_capacity(window.len().min(HELD_BYTES_MAX));
    out.extend_from_slice(window.get(..reader.position()).unwrap_or_default());
    let mut body = Body { frame: window, reader, out, flexible: api.is_flexible(version), version };
    match nodes::metadata(&mut body, context) {
        Ok(()) => {}
        Err(Error::Malformed(SHORT)) if (window.len() as u64) < frame_bytes => return Ok(None),
        Err(error) => return Err(error),
    }
    let taken = body.reader.position();
    let mut out = body.out;
    let rest =
        frame_bytes.checked_sub(taken as u64).ok_or(Error::Malformed("its broker list runs past its end"))?;
    set_length(&mut out, rest)?;
    Ok(Some((taken, out)))
}

/// What [`complete`] says of a field that ends early.
const SHORT: &str = "it ends in the middle of a field";

/// Reads past length, correlation id and the tags of the response header.
fn header(reader: &mut Reader<'_>, api: &Api, version: i16) -> Result<(), wire::Error> {
    reader.take(LENGTH_BYTES + 4)?;
    if api.response_header_has_tags(version) { reader.skip_tags() } else { Ok(()) }
}

/// Writes the length of a frame of which `out` is the start and `rest` bytes follow.
fn set_length(out: &mut [u8], rest: u64) -> Result<(), Error> {
    let length = (out.len() as u64 + rest).saturating_sub(LENGTH_BYTES as u64);
    let length = i32::try_from(length).map_err(|_| Error::TooLarge)?;
    if let Some(start) = out.first_chunk_mut::<LENGTH_BYTES>() {
        *start = length.to_be_bytes();
    }
    Ok(())
}

/// A response on its way from one buffer to another: read position in the old, end of the new.
#[derive(Debug)]
pub struct Body<'a> {
    frame: &'a [u8],
    reader: Reader<'a>,
    out: Vec<u8>,
    flexible: bool,
    version: i16,
}

impl<'a> Body<'a> {
    /// Reads something and copies the bytes that it took.
    fn copy<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T, wire::Error>) -> Result<T, Error> {
        let start = self.reader.position();
        let value = read(&mut self.reader).map_err(complete)?;
        self.copy_since(start);
        Ok(value)
    }

    /// Copies what was read since a position.
    fn copy_since(&mut self, start: usize) {
        let read = self.frame.get(start..self.reader.position()).unwrap_or_default();
        self.out.extend_from_slice(read);
    }

    /// Copies all that was not read.
    fn copy_rest(&mut self) {
        let rest = self.frame.get(self.reader.position()..).unwrap_or_default();
        self.out.extend_from_slice(rest);
    }

    /// Reads something and copies nothing.
    fn read<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T, wire::Error>) -> Result<T, Error> {
        read(&mut self.reader).map_err(complete)
    }
}
