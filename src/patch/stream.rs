//! `NodeEndpoints` in a response that is too large to hold: the records stream, the list is emptied at
//! equal length.
//!
//! The length of a frame goes out before its end is known, so the tail must keep its size. The list
//! becomes an empty one and the bytes that it leaves over become a tag of padding, which every client
//! skips as it skips any tag that it does not know (KIP-482). The leader hint of each partition stays;
//! clients follow it with the address that Metadata told them.

use super::endpoints::{Tail, layout};
use super::{Error, complete};
use crate::kafka::api::{Api, Patch};
use crate::kafka::shape;
use crate::kafka::walk::{self, Walker};
use crate::kafka::wire::{self, Reader, put_uvarint, uvarint_size};

/// The tag that carries padding; the one before it fills the sizes that one tag cannot have.
const PADDING_TAG: u32 = 127;

/// The most bytes that are looked at together: count, tag and size of the first tag.
pub const NEED_MAX: usize = 15;

/// What to do next with the bytes of the frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the next bytes as they are. At least 1; may exceed the window.
    Pass(u64),
    /// Show at least that many bytes, at most [`NEED_MAX`].
    Need(usize),
    /// Send these in place of as many bytes of the window.
    Pad(Vec<u8>),
    /// The frame is at its end.
    Done,
}

#[derive(Debug)]
enum State {
    Header(Walker),
    Body(Walker),
    Tail,
    /// The tag entries behind the first.
    Tags(u32),
    Padding(Padding),
    Rest,
}

/// The walk over one large response. Starts behind the correlation id.
#[derive(Debug)]
pub struct Stream {
    version: i16,
    tail: Tail,
    fields: &'static [walk::Field],
    left: u64,
    state: State,
    padded: bool,
}

impl Stream {
    /// A walk over the `left` bytes that follow the correlation id; `None` for a patch without a tail.
    pub fn new(patch: Patch, api: &Api, version: i16, left: u64) -> Option<Self> {
        let (fields, tail) = layout(patch)?;
        let header = Walker::new(shape::RESPONSE_HEADER, version, api.response_header_has_tags(version));
        Some(Self { version, tail, fields, left, state: State::Header(header), padded: false })
    }

    /// Whether a list was emptied.
    pub fn padded(&self) -> bool {
        self.padded
    }

    /// The next step, given the bytes at the current position.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the response must not go on.
    pub fn step(&mut self, window: &[u8]) -> Result<Step, Error> {
        // Nothing beyond the frame is looked at: what follows is the next response.
        let in_frame = usize::try_from(self.left).unwrap_or(usize::MAX).min(window.len());
        let window = window.get(..in_frame).unwrap_or_default();
        loop {
            let step = match &mut self.state {
                State::Header(walker) => match walker.step(window).map_err(complete)? {
                    walk::Step::Done => {
                        self.state = State::Body(Walker::new(self.fields, self.version, true));
                        continue;
                    }
                    walk::Step::Skip(bytes) => Step::Pass(bytes),
                    walk::Step::Need(bytes) => Step::Need(bytes),
                },
                State::Body(walker) => match walker.step(window).map_err(complete)? {
                    walk::Step::Done => {
                        self.state = State::Tail;
                        continue;
                    }
                    walk::Step::Skip(bytes) => Step::Pass(bytes),
                    walk::Step::Need(bytes) => Step::Need(bytes),
                },
                State::Tail => match self.enter_tail(window)? {
                    Some(step) => step,
                    None => continue,
                },
                State::Tags(0) => {
                    self.state = State::Rest;
                    continue;
                }
                State::Tags(entries) => match entry(window)? {
                    None => Step::Need(window.len() + 1),
                    Some((0, ..)) => return Err(Error::Malformed("its tags are out of order")),
                    Some((_, bytes)) => {
                        *entries -= 1;
                        Step::Pass(bytes)
                    }
                },
                State::Padding(padding) if padding.left == 0 => {
                    self.state = State::Tags(padding.tags_after);
                    continue;
                }
                State::Padding(_) if window.is_empty() => Step::Need(1),
                State::Padding(padding) => Step::Pad(padding.fill(window.len())),
                State::Rest if self.left == 0 => return Ok(Step::Done),
                State::Rest => return Err(Error::Malformed("bytes follow its last field")),
            };
            return self.account(step);
        }
    }

    /// Keeps a step within the frame.
    fn account(&mut self, step: Step) -> Result<Step, Error> {
        let taken = match &step {
            Step::Pass(bytes) => *bytes,
            Step::Pad(bytes) => bytes.len() as u64,
            Step::Need(bytes) if *bytes as u64 > self.left => {
                return Err(Error::Malformed("it ends in the middle of a field"));
            }
            Step::Need(_) | Step::Done => 0,
        };
        self.left = self.left.checked_sub(taken).ok_or(Error::Malformed("a field runs past its end"))?;
        Ok(step)
    }

    /// Decides what becomes of the tail. `None` means that the state has changed.
    fn enter_tail(&mut self, window: &[u8]) -> Result<Option<Step>, Error> {
        let mut reader = Reader::new(window);
        let head = match self.tail {
            Tail::Tag => reader.uvarint().and_then(|count| {
                if count == 0 {
                    return Ok((0, None));
                }
                Ok((count, Some((reader.uvarint()?, reader.uvarint()?))))
            }),
            Tail::Array => reader.array_length(true).map(|count| (count, None)),
        };
        let (count, first) = match head {
            Ok(head) => head,
            Err(wire::Error::Short) => return Ok(Some(Step::Need((window.len() + 1).min(NEED_MAX)))),
            Err(error) => return Err(complete(error)),
        };
        let head_bytes = reader.position() as u64;
        let padding = match (self.tail, first) {
            (Tail::Array, _) if count == 0 => {
                // An empty list, then ordinary tags: nothing to hide.
                self.state = State::Rest;
                return Ok(Some(Step::Pass(self.left)));
            }
            // Everything to the end of the frame goes: the tags behind the list are known only once the
            // list has been walked, and no version in the table has any.
            (Tail::Array, _) => Padding::in_place_of_array(self.left),
            (Tail::Tag, None) => {
                self.state = State::Rest;
                return Ok(Some(Step::Pass(head_bytes)));
            }
            (Tail::Tag, Some((0, size))) if size > 1 => {
                Padding::in_place_of_tag(count, head_bytes + u64::from(size))
            }
            (Tail::Tag, Some((_, size))) => {
                self.state = State::Tags(count - 1);
                return Ok(Some(Step::Pass(head_bytes + u64::from(size))));
            }
        };
        let padding = padding.ok_or(Error::Malformed("its node list is too short to be one"))?;
        if padding.left > self.left {
            return Err(Error::Malformed("a field runs past its end"));
        }
        self.padded = true;
        self.state = State::Padding(padding);
        Ok(None)
    }
}

/// Tag and whole size of one tag entry, or `None` for a window too short.
fn entry(window: &[u8]) -> Result<Option<(u32, u64)>, Error> {
    let mut reader = Reader::new(window);
    let read = reader.uvarint().and_then(|tag| Ok((tag, reader.uvarint()?)));
    match read {
        Ok((tag, size)) => Ok(Some((tag, reader.position() as u64 + u64::from(size)))),
        Err(wire::Error::Short) => Ok(None),
        Err(error) => Err(complete(error)),
    }
}

/// The bytes that stand in place of a list: a short head, then zeros.
#[derive(Debug)]
struct Padding {
    head: Vec<u8>,
    left: u64,
    tags_after: u32,
}

impl Padding {
    /// For a tag section that starts with tag 0; `bytes` are those of its count and of that tag.
    fn in_place_of_tag(count: u32, bytes: u64) -> Option<Self> {
        for tags in 1..=2 {
            let new_count = count.checked_add(tags)?;
            let mut head = Vec::with_capacity(16);
            put_uvarint(&mut head, new_count);
            head.extend([0, 1, 1]);
            let pad = bytes.checked_sub(head.len() as u64)?;
            if put_padding(&mut head, tags, pad) {
                return Some(Self { head, left: bytes, tags_after: count - 1 });
            }
        }
        None
    }

    /// For an array and all that follows it in the frame.
    fn in_place_of_array(bytes: u64) -> Option<Self> {
        (1..=2).find_map(|tags| {
            let mut head = vec![1];
            put_uvarint(&mut head, tags);
            let pad = bytes.checked_sub(head.len() as u64)?;
            put_padding(&mut head, tags, pad).then_some(Self { head, left: bytes, tags_after: 0 })
        })
    }

    /// The next bytes, at most `most`.
    fn fill(&mut self, most: usize) -> Vec<u8> {
        let bytes = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let from_head = bytes.min(self.head.len());
        let mut out: Vec<u8> = self.head.drain(..from_head).collect();
        out.resize(bytes, 0);
        self.left -= bytes as u64;
        out
    }
}

/// Appends the heads of padding tags that fill exactly `bytes`, or says that so many tags cannot.
fn put_padding(head: &mut Vec<u8>, tags: u32, bytes: u64) -> bool {
    let last = match tags {
        1 => bytes,
        _ => bytes.saturating_sub(2),
    };
    let size = (1..=5_u64).find_map(|width| {
        let size = u32::try_from(last.checked_sub(1 + width)?).ok()?;
        (uvarint_size(size) as u64 == width).then_some(size)
    });
    let Some(size) = size else { return false };
    if tags == 2 {
        head.extend([PADDING_TAG as u8 - 1, 0]);
    }
    put_uvarint(head, PADDING_TAG);
    put_uvarint(head, size);
    true
}
