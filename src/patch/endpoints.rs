//! `NodeEndpoints` (KIP-951) in a response that is at hand as a whole.

use super::nodes::{self, Layout};
use super::{Body, Context, Error, complete};
use crate::kafka::api::Patch;
use crate::kafka::shape;
use crate::kafka::walk::{self, Field};
use crate::kafka::wire::{Reader, put_uvarint};

/// Where a response keeps its `NodeEndpoints`, which is always at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Tag 0 of the body (Produce, Fetch).
    Tag,
    /// An ordinary array before the tags of the body (ShareFetch, ShareAcknowledge).
    Array,
}

/// The fields up to the tail, and the tail.
pub fn layout(patch: Patch) -> Option<(&'static [Field], Tail)> {
    match patch {
        Patch::Produce => Some((shape::PRODUCE_RESPONSE, Tail::Tag)),
        Patch::Fetch => Some((shape::FETCH_RESPONSE, Tail::Tag)),
        Patch::ShareFetch => Some((shape::SHARE_FETCH_RESPONSE, Tail::Array)),
        Patch::ShareAcknowledge => Some((shape::SHARE_ACKNOWLEDGE_RESPONSE, Tail::Array)),
        Patch::ApiVersions
        | Patch::Metadata
        | Patch::FindCoordinator
        | Patch::DescribeCluster
        | Patch::DescribeQuorum => None,
    }
}

/// Whether a response has anything to rewrite. Most responses of these APIs have not, and are then
/// neither copied nor allocated for; those of the other APIs always have.
pub fn are_there(patch: Patch, version: i16, mut body: Reader<'_>) -> Result<bool, Error> {
    let Some((fields, tail)) = layout(patch) else { return Ok(true) };
    let rest = body.clone().take(body.remaining()).map_err(complete)?;
    let bytes = walk::measure(fields, version, true, rest).map_err(complete)?;
    body.take(bytes).map_err(complete)?;
    let count = match tail {
        Tail::Tag => body.uvarint(),
        Tail::Array => body.array_length(true),
    };
    Ok(count.map_err(complete)? > 0 || body.remaining() > usize::from(tail == Tail::Array))
}

const ENDPOINT: Layout = Layout { rack: true, fenced: false };

/// Rewrites the list. One that loses its last node stays, empty: clients then use the leader hint of
/// the partition with the address that they know.
pub fn patch(patch: Patch, body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let version = body.version;
    let Some((fields, tail)) = layout(patch) else { return Ok(()) };
    body.copy(|r| {
        let rest = r.clone().take(r.remaining())?;
        r.take(walk::measure(fields, version, true, rest)?).map(drop)
    })?;
    match tail {
        Tail::Array => nodes::list(body, ENDPOINT, context)?,
        Tail::Tag => tags(body, context)?,
    }
    if tail == Tail::Array {
        body.copy(|r| r.skip_tags())?;
    }
    if body.reader.remaining() > 0 {
        return Err(Error::Malformed("bytes follow its last field"));
    }
    Ok(())
}

/// Rewrites tag 0 of the body and copies every other.
fn tags(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let count = body.copy(|r| r.uvarint())?;
    for nth in 0..count {
        let start = body.reader.position();
        let (tag, size) = body.read(|r| Ok((r.uvarint()?, r.uvarint()?)))?;
        if tag != 0 {
            body.read(|r| r.take(size as usize).map(drop))?;
            body.copy_since(start);
            continue;
        }
        if nth != 0 {
            return Err(Error::Malformed("its tags are out of order"));
        }
        let value_at = body.reader.position();
        let out = std::mem::take(&mut body.out);
        let changed = std::mem::replace(&mut context.changed, false);
        nodes::list(body, ENDPOINT, context)?;
        let list = std::mem::replace(&mut body.out, out);
        if body.reader.position() - value_at != size as usize {
            return Err(Error::Malformed("a tag is not as long as it says"));
        }
        if context.changed {
            put_uvarint(&mut body.out, 0);
            put_uvarint(&mut body.out, list.len() as u32);
            body.out.extend_from_slice(&list);
        } else {
            body.copy_since(start);
        }
        context.changed |= changed;
    }
    Ok(())
}
