//! FindCoordinator: the coordinator of a group or a transaction, or of several since version 4.

use super::{Body, Context, Error, nodes};
use crate::kafka::NodeId;
use crate::kafka::wire::put_string;

/// `COORDINATOR_NOT_AVAILABLE`: clients ask again, which is what they do before a coordinator exists.
const NOT_AVAILABLE: i16 = 15;

/// FindCoordinatorResponse, versions 0 to 6.
pub fn patch(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let version = body.version;
    if version >= 1 {
        body.copy(|r| r.i32())?;
    }
    if version < 4 {
        return single(body, context);
    }
    for _ in 0..body.copy(|r| r.array_length(true))? {
        coordinator(body, context)?;
    }
    Ok(())
}

/// Versions 0 to 3: the error stands before the node.
fn single(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let (flexible, version) = (body.flexible, body.version);
    let error_at = body.out.len();
    body.copy(|r| {
        r.i16()?;
        if version >= 1 {
            r.nullable_string(flexible)?;
        }
        Ok(())
    })?;
    if !node(body, context)?
        && let Some(error) = body.out.get_mut(error_at..error_at + 2)
    {
        error.copy_from_slice(&NOT_AVAILABLE.to_be_bytes());
    }
    Ok(())
}

/// An element of versions 4 to 6: the error stands after the node.
fn coordinator(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    body.copy(|r| r.string(true).map(drop))?;
    let has_route = node(body, context)?;
    let error_at = body.out.len();
    body.copy(|r| {
        r.i16()?;
        r.nullable_string(true)?;
        r.skip_tags()
    })?;
    if !has_route && let Some(error) = body.out.get_mut(error_at..error_at + 2) {
        error.copy_from_slice(&NOT_AVAILABLE.to_be_bytes());
    }
    Ok(())
}

/// Rewrites id, host and port. Returns whether the response may stay as the broker meant it: false for
/// a node without a route, which becomes no node.
fn node(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<bool, Error> {
    let flexible = body.flexible;
    let start = body.reader.position();
    let (node, host, port) = body.read(|r| Ok((NodeId(r.i32()?), r.string(flexible)?, r.i32()?)))?;
    // With an error a broker names no node (-1, "", -1): nothing to map and nothing that leaks.
    if node.0 < 0 && host.is_empty() {
        body.copy_since(start);
        return Ok(true);
    }
    nodes::learn(node, host, port, context);
    let route = context.routes.advertised(node);
    let has_route = route.is_some();
    match route {
        Some((name, advertised)) if host == name.as_bytes() && port == i32::from(advertised) => {
            body.copy_since(start);
        }
        Some((name, advertised)) => {
            body.out.extend_from_slice(&node.0.to_be_bytes());
            put_string(&mut body.out, name.as_bytes(), flexible);
            body.out.extend_from_slice(&i32::from(advertised).to_be_bytes());
            context.changed = true;
        }
        None => {
            body.out.extend_from_slice(&(-1_i32).to_be_bytes());
            put_string(&mut body.out, b"", flexible);
            body.out.extend_from_slice(&(-1_i32).to_be_bytes());
            context.leave_out(node);
            context.changed = true;
        }
    }
    Ok(has_route)
}
