//! DescribeQuorum: the controllers' own listeners are no business of a client's; the list is emptied.

use super::{Body, Context, Error};
use crate::kafka::shape;
use crate::kafka::walk::{self, Kind, field};
use crate::kafka::wire::put_uvarint;

/// DescribeQuorumResponse version 2.
pub fn patch(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let version = body.version;
    body.copy(|r| {
        let rest = r.clone().take(r.remaining())?;
        r.take(walk::measure(shape::DESCRIBE_QUORUM_RESPONSE, version, true, rest)?).map(drop)
    })?;
    for _ in 0..body.copy(|r| r.array_length(true))? {
        body.copy(|r| r.i32())?;
        let start = body.reader.position();
        let listeners = body.read(|r| {
            let rest = r.clone().take(r.remaining())?;
            let bytes = walk::measure(LISTENERS, version, true, rest)?;
            let count = r.clone().array_length(true)?;
            r.take(bytes)?;
            Ok(count)
        })?;
        if listeners == 0 {
            body.copy_since(start);
        } else {
            put_uvarint(&mut body.out, 1);
            context.changed = true;
        }
        body.copy(|r| r.skip_tags())?;
    }
    body.copy(|r| r.skip_tags())
}

/// The listeners of one node.
const LISTENERS: &[walk::Field] = &[field(Kind::Array(shape::QUORUM_LISTENER))];
