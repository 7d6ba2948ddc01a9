//! A small Kafka client on `kafka-protocol` that keeps the bytes of what it was told.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything that a test waits for, shorter than a person does.
pub(crate) const AT_MOST: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    correlation_id: i32,
    /// What no answer may hold.
    forbidden: Option<String>,
}

/// A text as the messages hold it.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A frame: length, header, body.
pub(crate) fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let key = ApiKey::try_from(R::KEY).expect("a known API");
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("it")));
    let mut payload = BytesMut::new();
    header.encode(&mut payload, key.request_header_version(version)).expect("a header");
    request.encode(&mut payload, version).expect("a body");
    framed(&payload)
}

/// A payload with its length before it.
pub(crate) fn framed(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(payload.len().try_into().expect("a frame that fits"));
    frame.extend_from_slice(payload);
    frame.freeze()
}

impl Client {
    pub(crate) async fn connect(address: impl Into<SocketAddr>) -> Self {
        let stream = TcpStream::connect(address.into()).await.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a stream that is connected already.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, correlation_id: 0, forbidden: None }
    }

    /// The same client, which fails when any answer holds a text.
    pub(crate) fn that_must_not_hear(self, text: &str) -> Self {
        Self { forbidden: Some(text.to_owned()), ..self }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the peer reads");
    }

    /// Sends a request and does not wait for the answer; returns its correlation id.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.send(&frame).await;
        self.correlation_id
    }

    /// The next frame's payload; `None` when the peer closed between two frames.
    ///
    /// # Panics
    /// When the peer closes within a frame, or answers nothing for too long.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        let read = async {
            let mut length = [0; 4];
            let mut have = 0;
            while have < 4 {
                match self.stream.read(&mut length[have..]).await {
                    Ok(0) | Err(_) if have == 0 => return None,
                    Ok(0) => panic!("closed within a length"),
                    Ok(n) => have += n,
                    Err(error) => panic!("failed within a length: {error}"),
                }
            }
            let mut payload = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut payload).await.expect("closed within a frame");
            if let Some(forbidden) = &self.forbidden {
                let heard = payload.windows(forbidden.len()).any(|part| part == forbidden.as_bytes());
                assert!(!heard, "an answer holds {forbidden}");
            }
            Some(Bytes::from(payload))
        };
        tokio::time::timeout(AT_MOST, read).await.expect("an answer or an end")
    }

    /// Reads the answer to a request.
    pub(crate) async fn answer<R: Request>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Option<R::Response> {
        let mut payload = self.read().await?;
        assert_eq!(payload.get_i32(), correlation_id, "the correlation id");
        let key = ApiKey::try_from(R::KEY).expect("a known API");
        if key.response_header_version(version) == 1 {
            assert_eq!(payload.get_u8(), 0, "tags of the header");
        }
        let response = R::Response::decode(&mut payload, version).expect("an answer that decodes");
        assert!(payload.is_empty(), "bytes after an answer");
        Some(response)
    }

    /// Sends a request and returns the answer; `None` when the peer closes instead, now or before.
    pub(crate) async fn try_call<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.stream.write_all(&frame).await.ok()?;
        self.answer::<R>(version, self.correlation_id).await
    }

    /// Sends a request and returns the answer.
    pub(crate) async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.try_call(request, version).await.expect("an answer")
    }

    /// Whether the peer has closed, or closes, without a further byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = [0; 1];
        let read = tokio::time::timeout(AT_MOST, self.stream.read(&mut rest)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}
