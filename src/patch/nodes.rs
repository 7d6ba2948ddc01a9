//! Broker lists: Metadata, DescribeCluster and `NodeEndpoints` name nodes in the same way.

use super::{Body, Context, Error, NODES_MAX};
use crate::cluster::Broker;
use crate::kafka::NodeId;
use crate::kafka::wire::{Reader, put_array_length, put_string};
use crate::net::{Host, HostPort};

/// What follows the port of a node in a list.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// A nullable rack.
    pub rack: bool,
    /// A boolean that says whether the node is fenced (KIP-1073).
    pub fenced: bool,
}

/// MetadataResponse, versions 0 to 13, up to and with `Brokers`.
pub fn metadata(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    if body.version >= 3 {
        body.copy(Reader::i32)?;
    }
    let rack = body.version >= 1;
    list(body, Layout { rack, fenced: false }, context)
}

/// DescribeClusterResponse, versions 0 to 2, up to and with `Brokers`.
pub fn describe_cluster(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let version = body.version;
    let of_brokers = body.copy(|r| {
        r.i32()?;
        r.i16()?;
        r.nullable_string(true)?;
        let endpoint_type = if version >= 1 { r.i8()? } else { 1 };
        r.nullable_string(true)?;
        r.i32()?;
        Ok(endpoint_type == 1)
    })?;
    list(body, Layout { rack: true, fenced: version >= 2 }, context)?;
    if !of_brokers {
        // Controllers listen elsewhere; what they are called is nothing to dial a broker by.
        context.learned.clear();
    }
    Ok(())
}

/// Rewrites an array of `{ id, host, port, ... }`. A node without a route is left out, and so is a node
/// that is named twice: two of one id make the Java client fail (`Collectors.toMap`).
pub fn list(body: &mut Body<'_>, layout: Layout, context: &mut Context<'_>) -> Result<(), Error> {
    let flexible = body.flexible;
    let start = body.reader.position();
    let claimed = body.read(|r| r.array_length(flexible))?;
    if claimed > NODES_MAX {
        return Err(Error::TooManyNodes(claimed));
    }
    let count = body.frame.get(start..body.reader.position()).unwrap_or_default();
    let count_at = body.out.len();
    body.out.extend_from_slice(count);
    let elements_at = body.out.len();
    let mut listed: Vec<NodeId> = Vec::new();
    for _ in 0..claimed {
        if let Some(node) = element(body, layout, &listed, context)? {
            listed.push(node);
        }
    }
    let kept = listed.len() as u32;
    if kept != claimed {
        let mut length = Vec::new();
        put_array_length(&mut length, kept, flexible);
        body.out.splice(count_at..elements_at, length);
        context.changed = true;
    }
    Ok(())
}

/// Rewrites one node, and returns its id unless it was left out.
fn element(
    body: &mut Body<'_>,
    layout: Layout,
    listed: &[NodeId],
    context: &mut Context<'_>,
) -> Result<Option<NodeId>, Error> {
    let flexible = body.flexible;
    let start = body.reader.position();
    let (node, host, port) = body.read(|r| Ok((NodeId(r.i32()?), r.string(flexible)?, r.i32()?)))?;
    let address_end = body.reader.position();
    body.read(|r| {
        if layout.rack {
            r.nullable_string(flexible)?;
        }
        if layout.fenced {
            r.i8()?;
        }
        if flexible { r.skip_tags() } else { Ok(()) }
    })?;
    learn(node, host, port, context);
    let Some((name, advertised)) = context.routes.advertised(node) else {
        context.leave_out(node);
        return Ok(None);
    };
    if listed.contains(&node) {
        return Ok(None);
    }
    if host == name.as_bytes() && port == i32::from(advertised) {
        body.copy_since(start);
        return Ok(Some(node));
    }
    body.out.extend_from_slice(&node.0.to_be_bytes());
    put_string(&mut body.out, name.as_bytes(), flexible);
    body.out.extend_from_slice(&i32::from(advertised).to_be_bytes());
    body.copy_since(address_end);
    context.changed = true;
    Ok(Some(node))
}

/// Remembers where a cluster says that a node is. A name that is none is not worth a dial.
pub fn learn(node: NodeId, host: &[u8], port: i32, context: &mut Context<'_>) {
    let Ok(port) = u16::try_from(port) else { return };
    if node.0 < 0 || port == 0 || context.learned.len() >= NODES_MAX as usize {
        return;
    }
    if let Ok(host) = Host::parse(host) {
        context.learned.push(Broker { node, address: HostPort { host, port } });
    }
}
