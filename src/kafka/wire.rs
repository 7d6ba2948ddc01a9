//! Primitive types of the Kafka protocol, read from and written to bounded slices.

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The slice ends before the value does. A window that grows may help; a whole frame may not.
    #[error("more bytes are needed")]
    Short,
    /// No number of further bytes makes this valid.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads primitives from the front of a slice. Never allocates and never reads past the end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Error::Short`] when fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let end = self.position.checked_add(n).ok_or(Error::Short)?;
        let taken = self.bytes.get(self.position..end).ok_or(Error::Short)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Short)
    }

    /// An INT8.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn i8(&mut self) -> Result<i8, Error> {
        self.array().map(i8::from_be_bytes)
    }

    /// An INT16.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn i16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    /// An INT32.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    /// An UNSIGNED_VARINT of at most five bytes. Encodings that are longer than they need be are
    /// accepted, as Java's `ByteUtils.readUnsignedVarint` accepts them.
    ///
    /// # Errors
    /// [`Error::Short`], or [`Error::Malformed`] above 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, Error> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(Error::Malformed("a varint does not fit 32 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Malformed("a varint is longer than five bytes"))
    }

    /// A (COMPACT_)NULLABLE_STRING: `None` is null.
    ///
    /// # Errors
    /// [`Error::Short`], or [`Error::Malformed`] for a negative length other than null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, Error> {
        let length = if flexible {
            match self.uvarint()?.checked_sub(1) {
                None => return Ok(None),
                Some(length) if length > i16::MAX as u32 => {
                    return Err(Error::Malformed("a string is longer than 32767 bytes"));
                }
                Some(length) => length as usize,
            }
        } else {
            match self.i16()? {
                -1 => return Ok(None),
                length => {
                    usize::try_from(length).map_err(|_| Error::Malformed("a string has a negative length"))?
                }
            }
        };
        self.take(length).map(Some)
    }

    /// A (COMPACT_)STRING.
    ///
    /// # Errors
    /// As [`Reader::nullable_string`], and [`Error::Malformed`] for null.
    pub fn string(&mut self, flexible: bool) -> Result<&'a [u8], Error> {
        self.nullable_string(flexible)?.ok_or(Error::Malformed("a string is null that may not be"))
    }

    /// The number of elements of a (COMPACT_)ARRAY; null counts as none. It is what the peer claims:
    /// never size an allocation by it.
    ///
    /// # Errors
    /// [`Error::Short`], or [`Error::Malformed`] for a negative number other than null.
    pub fn array_length(&mut self, flexible: bool) -> Result<u32, Error> {
        if flexible {
            return Ok(self.uvarint()?.saturating_sub(1));
        }
        match self.i32()? {
            -1 => Ok(0),
            length => u32::try_from(length).map_err(|_| Error::Malformed("an array has a negative length")),
        }
    }

    /// Passes over a tag section (KIP-482).
    ///
    /// # Errors
    /// [`Error::Short`], or [`Error::Malformed`] for a varint that is not one.
    pub fn skip_tags(&mut self) -> Result<(), Error> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let size = self.uvarint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }
}

/// Appends an UNSIGNED_VARINT in its shortest form.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of the shortest form of an UNSIGNED_VARINT: 1 to 5.
pub fn uvarint_size(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        0x1000_0000.. => 5,
    }
}

/// Appends a (COMPACT_)STRING. The text must be shorter than 32,768 bytes, which every host name is.
pub fn put_string(out: &mut Vec<u8>, text: &[u8], flexible: bool) {
    debug_assert!(text.len() <= i16::MAX as usize);
    if flexible {
        put_uvarint(out, text.len() as u32 + 1);
    } else {
        out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    }
    out.extend_from_slice(text);
}

/// Appends the length of a (COMPACT_)ARRAY.
pub fn put_array_length(out: &mut Vec<u8>, length: u32, flexible: bool) {
    if flexible {
        put_uvarint(out, length + 1);
    } else {
        out.extend_from_slice(&(length as i32).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_comes_back_and_its_size_is_known(value: u32) {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            prop_assert_eq!(out.len(), uvarint_size(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.uvarint(), Ok(value));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn a_string_comes_back(text in proptest::collection::vec(any::<u8>(), 0..300), flexible: bool) {
            let mut out = Vec::new();
            put_string(&mut out, &text, flexible);
            prop_assert_eq!(Reader::new(&out).string(flexible), Ok(text.as_slice()));
            out.pop();
            if !text.is_empty() {
                prop_assert_eq!(Reader::new(&out).string(flexible), Err(Error::Short));
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), flexible: bool) {
            let mut reader = Reader::new(&bytes);
            while reader.nullable_string(flexible).is_ok() && reader.skip_tags().is_ok() {
                if reader.remaining() == 0 { break; }
            }
            prop_assert!(reader.position() <= bytes.len());
        }
    }

    #[test]
    fn a_varint_above_32_bits_is_malformed() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]);
        assert!(matches!(reader.uvarint(), Err(Error::Malformed(_))));
        let mut reader = Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert!(matches!(reader.uvarint(), Err(Error::Malformed(_))));
    }

    #[test]
    fn a_varint_longer_than_needed_is_read_as_java_reads_it() {
        assert_eq!(Reader::new(&[0x81, 0x80, 0x00]).uvarint(), Ok(1));
    }

    #[test]
    fn null_and_negative_lengths_differ() {
        assert_eq!(Reader::new(&[0xff, 0xff]).nullable_string(false), Ok(None));
        assert!(matches!(Reader::new(&[0xff, 0xfe]).nullable_string(false), Err(Error::Malformed(_))));
        assert_eq!(Reader::new(&[0]).nullable_string(true), Ok(None));
        assert_eq!(Reader::new(&[0xff; 4]).array_length(false), Ok(0));
        assert!(matches!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).array_length(false),
            Err(Error::Malformed(_))
        ));
    }
}
