//! Frames by hand: what a test says is on the wire is what is here.

/// A frame: the length, then the payload.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as i32).to_be_bytes()[..], payload].concat()
}

/// A request of a client called `c`.
pub(crate) fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let flexible = gatehouse::kafka::api::find(key).is_some_and(|api| api.is_flexible(version));
    let mut payload =
        [&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation_id.to_be_bytes()].concat();
    payload.extend([0, 1, b'c']);
    if flexible {
        payload.push(0);
    }
    payload.extend(body);
    frame(&payload)
}

/// A response without tags in its header.
pub(crate) fn response(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&correlation_id.to_be_bytes(), body].concat())
}

/// The body of a Produce request up to and with acks, then `rest` bytes.
pub(crate) fn produce_body(version: i16, acks: i16, rest: usize) -> Vec<u8> {
    let mut body = match version {
        ..3 => vec![],
        3..9 => vec![0xff, 0xff],
        9.. => vec![0],
    };
    body.extend(acks.to_be_bytes());
    body.resize(body.len() + rest, 7);
    body
}

/// A Metadata response of version 1 with node 3 at `upstream.inside`, and `topics` bytes behind the list.
pub(crate) fn metadata_v1(correlation_id: i32, topics: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 3, 0, 15];
    body.extend(b"upstream.inside");
    body.extend(9092_i32.to_be_bytes());
    body.extend([0xff, 0xff, 0, 0, 0, 3]);
    body.resize(body.len() + topics, 9);
    response(correlation_id, &body)
}

/// The same after the gateway.
pub(crate) fn metadata_v1_routed(correlation_id: i32, topics: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 3, 0, 17];
    body.extend(b"kafka.example.com");
    body.extend(31_093_i32.to_be_bytes());
    body.extend([0xff, 0xff, 0, 0, 0, 3]);
    body.resize(body.len() + topics, 9);
    response(correlation_id, &body)
}
