//! ApiVersions: every API is offered up to the version that the table knows, and no further.

use super::{Body, Context, Error};
use crate::kafka::api::{self, Request};
use crate::kafka::wire::put_array_length;

/// The most APIs that a broker may list.
const APIS_MAX: u32 = 4_096;

/// ApiVersionsResponse, versions 0 to 5. The lower end of a range is never raised: Kafka 4 offers
/// Produce from 0 although it takes it from 3, because old librdkafka stops compressing otherwise
/// (KAFKA-18659).
pub fn patch(body: &mut Body<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    // An error comes in a layout of its own (version 0, or stranger): it passes as it is.
    if body.copy(|r| r.i16())? != 0 {
        return Ok(());
    }
    let flexible = body.flexible;
    let start = body.reader.position();
    let claimed = body.read(|r| r.array_length(flexible))?;
    if claimed > APIS_MAX {
        return Err(Error::Malformed("it lists more than 4096 APIs"));
    }
    let count_at = body.out.len();
    body.copy_since(start);
    let elements_at = body.out.len();
    let mut kept = 0;
    for _ in 0..claimed {
        let start = body.reader.position();
        let (key, least, most) = body.read(|r| Ok((r.i16()?, r.i16()?, r.i16()?)))?;
        if flexible {
            body.read(|r| r.skip_tags())?;
        }
        let Some(offered) = offered(key, least, most, context.pass_unknown_apis) else {
            continue;
        };
        let element_at = body.out.len();
        body.copy_since(start);
        kept += 1;
        if offered != most {
            context.changed = true;
            if let Some(bytes) = body.out.get_mut(element_at + 4..element_at + 6) {
                bytes.copy_from_slice(&offered.to_be_bytes());
            }
        }
    }
    if kept != claimed {
        let mut length = Vec::new();
        put_array_length(&mut length, kept, flexible);
        body.out.splice(count_at..elements_at, length);
        context.changed = true;
    }
    Ok(())
}

/// The newest version to offer, or `None` to leave the API out.
fn offered(key: i16, least: i16, most: i16, pass_unknown_apis: bool) -> Option<i16> {
    match api::find(key) {
        None => pass_unknown_apis.then_some(most),
        Some(known) if known.request == Request::Refuse || known.newest < least => None,
        Some(known) => Some(most.min(known.newest)),
    }
}
