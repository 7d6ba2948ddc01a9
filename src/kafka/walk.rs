//! Walks over a message without holding it: an incremental reader that follows a [`Field`] list.
//!
//! The walker never copies and never allocates. It asks for the few bytes that a length or a count
//! takes, and says of everything else how many bytes to pass over, which may be more than is at hand.

use super::wire::{Error, Reader};

/// One field of a message, present in the versions `since..=until`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// First version with this field.
    pub since: i16,
    /// Last version with this field.
    pub until: i16,
    /// How it is encoded.
    pub kind: Kind,
}

/// How a field is encoded.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// That many bytes: BOOLEAN 1, INT16 2, INT32 4, INT64 8, UUID 16. At least 1.
    Fixed(u8),
    /// A string, nullable or not.
    String,
    /// Bytes or records, nullable or not.
    Bytes,
    /// An array of structures, nullable or not. The fields of an element take at least one byte in
    /// every version, so that a count cannot make the walker spin.
    Array(&'static [Field]),
    /// A structure that may be null (one byte, -1 is null, before the fields).
    Nullable(&'static [Field]),
    /// The tag section that ends a structure in flexible versions (KIP-482).
    Tags,
}

/// A field of every version.
pub const fn field(kind: Kind) -> Field {
    Field { since: 0, until: i16::MAX, kind }
}

impl Field {
    /// The same field, from a version on.
    pub const fn since(self, version: i16) -> Self {
        Self { since: version, ..self }
    }

    /// The same field, up to and with a version.
    pub const fn until(self, version: i16) -> Self {
        Self { until: version, ..self }
    }
}

/// What a walker wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next bytes are accounted for: pass over that many, then ask again. May exceed the window.
    Skip(u64),
    /// Show at least that many bytes (at most [`NEED_MAX`]).
    Need(usize),
    /// The last field is behind.
    Done,
}

/// The most bytes that a walker ever needs to see at once: a tag and its size.
pub const NEED_MAX: usize = 10;

/// How deep structures may nest. Response of Fetch: message, topics, partitions, aborted, tags.
const DEPTH_MAX: usize = 8;

/// What repeats: the elements of an array, or the entries of a tag section.
#[derive(Clone, Copy, Debug)]
enum Level {
    Fields { fields: &'static [Field], next: usize, elements_left: u32 },
    Tags { left: u32 },
}

/// An incremental walk over one message in one version.
#[derive(Clone, Debug)]
pub struct Walker {
    version: i16,
    flexible: bool,
    levels: [Level; DEPTH_MAX],
    depth: usize,
}

impl Walker {
    /// A walk over `fields` in a version whose encoding is `flexible` or not (KIP-482).
    pub fn new(fields: &'static [Field], version: i16, flexible: bool) -> Self {
        let mut levels = [Level::Tags { left: 0 }; DEPTH_MAX];
        levels[0] = Level::Fields { fields, next: 0, elements_left: 1 };
        Self { version, flexible, levels, depth: 1 }
    }

    /// The next step, given the bytes at the current position.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the message cannot be what its header says. Never [`Error::Short`].
    pub fn step(&mut self, window: &[u8]) -> Result<Step, Error> {
        let mut fixed: u64 = 0;
        loop {
            let Some(level) = self.depth.checked_sub(1).and_then(|top| self.levels.get_mut(top)) else {
                return Ok(if fixed > 0 { Step::Skip(fixed) } else { Step::Done });
            };
            let kind = match level {
                Level::Tags { left: 0 } => {
                    self.depth -= 1;
                    continue;
                }
                Level::Tags { left } => {
                    if fixed > 0 {
                        return Ok(Step::Skip(fixed));
                    }
                    let Some(size) = read(window, tag_entry)? else {
                        return Ok(Step::Need(wanted(window)));
                    };
                    *left -= 1;
                    return Ok(Step::Skip(size));
                }
                Level::Fields { fields, next, elements_left } => match fields.get(*next) {
                    None => {
                        *elements_left -= 1;
                        *next = 0;
                        if *elements_left == 0 {
                            self.depth -= 1;
                        }
                        continue;
                    }
                    Some(field) if !(field.since..=field.until).contains(&self.version) => {
                        *next += 1;
                        continue;
                    }
                    Some(Field { kind: Kind::Fixed(bytes), .. }) => {
                        *next += 1;
                        fixed += u64::from(*bytes);
                        continue;
                    }
                    Some(Field { kind: Kind::Tags, .. }) if !self.flexible => {
                        *next += 1;
                        continue;
                    }
                    Some(field) => field.kind,
                },
            };
            // A run of fixed fields is one step; what follows needs the window at its own place.
            if fixed > 0 {
                return Ok(Step::Skip(fixed));
            }
            return self.variable(kind, window);
        }
    }

    /// A field whose size stands in the window.
    fn variable(&mut self, kind: Kind, window: &[u8]) -> Result<Step, Error> {
        let flexible = self.flexible;
        let step = match kind {
            Kind::Fixed(bytes) => Some((u64::from(bytes), None)),
            Kind::String => read(window, |r| sized(r, flexible, 2))?.map(|skip| (skip, None)),
            Kind::Bytes => read(window, |r| sized(r, flexible, 4))?.map(|skip| (skip, None)),
            Kind::Array(fields) => read(window, |r| {
                let elements_left = r.array_length(flexible)?;
                let counted = r.position() as u64;
                // Multiplied, not walked: thousands of millions may be claimed at no cost to the peer.
                if let Some(bytes) = fixed_bytes(fields, self.version, flexible) {
                    return Ok((counted + u64::from(elements_left) * bytes, None));
                }
                let level = Level::Fields { fields, next: 0, elements_left };
                Ok((counted, (elements_left > 0).then_some(level)))
            })?,
            Kind::Nullable(fields) => read(window, |r| {
                let present = r.i8()? >= 0;
                Ok((1, present.then_some(Level::Fields { fields, next: 0, elements_left: 1 })))
            })?,
            Kind::Tags => read(window, |r| {
                let left = r.uvarint()?;
                Ok((r.position() as u64, (left > 0).then_some(Level::Tags { left })))
            })?,
        };
        let Some((skip, below)) = step else { return Ok(Step::Need(wanted(window))) };
        if let Some(Level::Fields { next, .. }) = self.levels.get_mut(self.depth - 1) {
            *next += 1;
        }
        if let Some(level) = below {
            *self.levels.get_mut(self.depth).ok_or(Error::Malformed("a message nests too deep"))? = level;
            self.depth += 1;
        }
        Ok(Step::Skip(skip))
    }
}

/// Walks a whole message that is at hand, and returns how many bytes it takes.
///
/// # Errors
/// [`Error::Short`] when the message ends before its fields do, [`Error::Malformed`] as [`Walker::step`].
pub fn measure(
    fields: &'static [Field],
    version: i16,
    flexible: bool,
    message: &[u8],
) -> Result<usize, Error> {
    let mut walker = Walker::new(fields, version, flexible);
    let mut position = 0;
    loop {
        let window = message.get(position..).unwrap_or_default();
        match walker.step(window)? {
            Step::Done => return Ok(position),
            Step::Need(_) => return Err(Error::Short),
            Step::Skip(bytes) if bytes > window.len() as u64 => return Err(Error::Short),
            Step::Skip(bytes) => position += bytes as usize,
        }
    }
}

/// Reads from the front of the window; `None` when it is too short.
fn read<T>(
    window: &[u8],
    parse: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match parse(&mut Reader::new(window)) {
        Ok(value) => Ok(Some(value)),
        Err(Error::Short) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One byte more than there is, so that a length that is complete is never waited for.
fn wanted(window: &[u8]) -> usize {
    (window.len() + 1).min(NEED_MAX)
}

/// The bytes of one element, where they are the same for all.
fn fixed_bytes(fields: &[Field], version: i16, flexible: bool) -> Option<u64> {
    fields.iter().filter(|field| (field.since..=field.until).contains(&version)).try_fold(0, |sum, field| {
        match field.kind {
            Kind::Fixed(bytes) => Some(sum + u64::from(bytes)),
            Kind::Tags if !flexible => Some(sum),
            Kind::String | Kind::Bytes | Kind::Array(_) | Kind::Nullable(_) | Kind::Tags => None,
        }
    })
}

/// The bytes that a length and what it announces take; `width` is that of a length that is no varint.
fn sized(reader: &mut Reader<'_>, flexible: bool, width: usize) -> Result<u64, Error> {
    let size = if flexible {
        u64::from(reader.uvarint()?.saturating_sub(1))
    } else {
        let length = if width == 2 { i32::from(reader.i16()?) } else { reader.i32()? };
        match length {
            -1 => 0,
            length => u64::try_from(length).map_err(|_| Error::Malformed("a field has a negative length"))?,
        }
    };
    Ok(reader.position() as u64 + size)
}

/// The bytes of one entry of a tag section.
fn tag_entry(reader: &mut Reader<'_>) -> Result<u64, Error> {
    reader.uvarint()?;
    let size = reader.uvarint()?;
    Ok(reader.position() as u64 + u64::from(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAIR: &[Field] = &[field(Kind::Fixed(4)), field(Kind::Bytes), field(Kind::Tags)];
    const MESSAGE: &[Field] = &[
        field(Kind::Fixed(4)).since(1),
        field(Kind::Fixed(2)),
        field(Kind::String),
        field(Kind::Array(PAIR)),
        field(Kind::Tags),
    ];

    /// Walks with windows of at most `window` bytes and returns the bytes passed over.
    fn walk(message: &[u8], version: i16, flexible: bool, window: usize) -> Result<u64, Error> {
        let mut walker = Walker::new(MESSAGE, version, flexible);
        let (mut position, mut shown) = (0_u64, window);
        loop {
            let rest = message.get(position as usize..).unwrap_or_default();
            match walker.step(&rest[..rest.len().min(shown)])? {
                Step::Done => return Ok(position),
                Step::Skip(bytes) => {
                    position += bytes;
                    shown = window;
                }
                Step::Need(bytes) if rest.len() < bytes => return Err(Error::Short),
                Step::Need(bytes) => shown = bytes,
            }
        }
    }

    #[test]
    fn a_flexible_message_is_walked_to_its_end() {
        let mut message = vec![0, 0, 0, 9, 0, 7, 3, b'a', b'b', 3];
        message.extend([0, 0, 0, 1, 4, 9, 9, 9, 1, 5, 2, 8, 8]);
        message.extend([0, 0, 0, 2, 0, 0]);
        message.extend([0]);
        assert_eq!(walk(&message, 1, true, 3), Ok(message.len() as u64));
        assert_eq!(measure(MESSAGE, 1, true, &message), Ok(message.len()));
        assert_eq!(measure(MESSAGE, 1, true, &message[..message.len() - 1]), Err(Error::Short));
        assert_eq!(walk(&message[4..], 0, true, 64), Ok(message.len() as u64 - 4));
    }

    #[test]
    fn records_beyond_the_window_are_one_step() {
        let mut walker = Walker::new(&[Field { since: 0, until: 9, kind: Kind::Bytes }], 0, false);
        assert_eq!(walker.step(&[]), Ok(Step::Need(1)));
        assert_eq!(walker.step(&[0x7f, 0xff, 0xff, 0xff]), Ok(Step::Skip(0x7fff_ffff + 4)));
        assert_eq!(walker.step(&[]), Ok(Step::Done));
    }

    #[test]
    fn a_claimed_number_of_equal_elements_is_one_step() {
        const NUMBERS: &[Field] =
            &[field(Kind::Array(const { &[field(Kind::Fixed(4)), field(Kind::Tags)] }))];
        let mut walker = Walker::new(NUMBERS, 0, false);
        assert_eq!(walker.step(&[0x7f, 0xff, 0xff, 0xff]), Ok(Step::Skip(4 + 4 * 0x7fff_ffff)));
        assert_eq!(walker.step(&[]), Ok(Step::Done));
        assert_eq!(measure(NUMBERS, 0, false, &[0, 0, 0, 1, 9, 9, 9, 9]), Ok(8));
        assert_eq!(measure(NUMBERS, 0, true, &[2, 9, 9, 9, 9, 0]), Ok(6));
    }

    #[test]
    fn a_negative_length_is_malformed() {
        assert!(matches!(measure(MESSAGE, 0, false, &[0, 1, 0x80, 0]), Err(Error::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_fragmentation_gives_the_same_result(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_i16..3, flexible: bool, window in 1_usize..20
        ) {
            let whole = walk(&bytes, version, flexible, bytes.len());
            let pieces = walk(&bytes, version, flexible, window);
            prop_assert_eq!(whole, pieces);
        }
    }
}
