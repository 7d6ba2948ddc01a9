//! The request header and acks of every Produce version: what is read of a prefix is what is read of all.

use gatehouse::kafka::header::{self, RequestHeader};
use gatehouse::kafka::wire::{Error, put_string, put_uvarint};

/// The payload of a request; then a Produce that is made of the same bytes.
pub(crate) fn check(data: &[u8]) {
    prefixes(data, RequestHeader::read);
    prefixes(data, |payload| {
        header::read_past(payload, false).map(|(rest, id)| (rest.position(), id.map(<[u8]>::len)))
    });
    prefixes(data, |payload| {
        header::read_past(payload, true).map(|(rest, id)| (rest.position(), id.map(<[u8]>::len)))
    });
    prefixes(data, |payload| {
        header::client_software(payload).map(|(name, version)| (name.len(), version.len()))
    });
    prefixes(data, |payload| header::sasl_mechanism(payload).map(<[u8]>::len));
    for version in 0..=13 {
        prefixes(data, |payload| header::produce_acks(payload, version));
        produce(data, version);
    }
    let _ = header::foreign_protocol(data);
}

/// Fewer bytes are too few, or say the same.
fn prefixes<T: PartialEq + std::fmt::Debug>(data: &[u8], read: impl Fn(&[u8]) -> Result<T, Error>) {
    let whole = read(data);
    let ends = [data.len() / 4, data.len() / 2, data.len().saturating_sub(1)];
    for end in ends {
        match read(&data[..end]) {
            Err(Error::Short) => {}
            part => assert_eq!(part, whole, "{end} of {} bytes say otherwise", data.len()),
        }
    }
}

/// Writes a Produce header with the strings of the data and reads its acks.
fn produce(data: &[u8], version: i16) {
    let [low, high, client_id, transactional_id, tags, text @ ..] = data else { return };
    let acks = i16::from_be_bytes([*high, *low]);
    let flexible = version >= 9;
    let text_of = |length: u8| &text[..text.len().min(usize::from(length))];
    let mut payload = vec![0, 0];
    payload.extend(version.to_be_bytes());
    payload.extend([0; 4]);
    put_nullable(&mut payload, (*client_id > 0).then(|| text_of(*client_id)), false);
    if flexible {
        let tags = u32::from(tags % 70);
        put_uvarint(&mut payload, tags);
        for tag in 0..tags {
            put_uvarint(&mut payload, tag);
            put_string(&mut payload, text_of(tag as u8), true);
            // A tag's size is what the text takes, not one more.
            let at = payload.len() - text_of(tag as u8).len() - 1;
            payload[at] -= 1;
        }
    }
    if version >= 3 {
        put_nullable(&mut payload, (*transactional_id > 0).then(|| text_of(*transactional_id)), flexible);
    }
    payload.extend(acks.to_be_bytes());
    let read = header::produce_acks(&payload, version);
    if flexible && u32::from(tags % 70) > header::TAGS_MAX {
        assert!(matches!(read, Err(Error::Malformed(_))));
    } else {
        assert_eq!(read, Ok(acks), "version {version}");
    }
}

fn put_nullable(out: &mut Vec<u8>, text: Option<&[u8]>, flexible: bool) {
    match text {
        Some(text) => put_string(out, text, flexible),
        None if flexible => out.push(0),
        None => out.extend([0xff, 0xff]),
    }
}
