//! Text of a peer, made fit for a log line, a page or a terminal.

use std::fmt::{self, Write};

/// How many bytes of text a peer gets into a line.
pub const PRINTED_BYTES_MAX: usize = 128;

/// What stands for the rest of a text that was too long.
const CUT: &str = "…";

/// Bytes that a peer sent, written as at most [`PRINTED_BYTES_MAX`] bytes without any character that could
/// break a line, move a cursor or reorder what stands around it.
///
/// Letters and digits of every script and the printable ASCII characters stay as they are, but for the
/// backslash; every other character is written as `\u{..}`, a byte that is not UTF-8 as `\x..`.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl<'a> From<&'a str> for Printable<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

/// A name that somebody trusted has signed, in full and as it is, but for characters that nobody sees: those
/// that control a terminal, and those that reorder or join what stands around them.
pub fn signed_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        let unseen = matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
        if unseen || character.is_control() {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

fn is_harmless(character: char) -> bool {
    match character {
        '\\' => false,
        ' '..='~' => true,
        other => other.is_alphanumeric(),
    }
}

impl Printable<'_> {
    /// The pieces of the text, each harmless by itself.
    fn pieces(&self, mut each: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
        let mut piece = String::with_capacity(12);
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                piece.clear();
                match character {
                    '\\' => piece.push_str("\\\\"),
                    harmless if is_harmless(harmless) => piece.push(harmless),
                    other => write!(piece, "\\u{{{:x}}}", u32::from(other))?,
                }
                each(&piece)?;
            }
            for byte in chunk.invalid() {
                piece.clear();
                write!(piece, "\\x{byte:02x}")?;
                each(&piece)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(PRINTED_BYTES_MAX);
        // Where the text would be cut, should it turn out too long: what is longer is cut between pieces.
        let mut room_for_cut = 0;
        // An error is the sign to stop: no piece after this one fits.
        let whole = self.pieces(|piece| {
            if text.len() + piece.len() > PRINTED_BYTES_MAX {
                return Err(fmt::Error);
            }
            text.push_str(piece);
            if text.len() + CUT.len() <= PRINTED_BYTES_MAX {
                room_for_cut = text.len();
            }
            Ok(())
        });
        if whole.is_err() {
            text.truncate(room_for_cut);
            text.push_str(CUT);
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(bytes: &[u8]) -> String {
        Printable(bytes).to_string()
    }

    #[test]
    fn a_signed_name_shows_all_that_it_is() {
        let name = r"CN=\#svc\=pay™,O=Ex\, ample Inc \<x\>\;\+\\,L=München";
        assert_eq!(signed_name(name), name);
        assert_eq!(signed_name("a\r\n\u{1b}[2J\u{202e}b"), r"a\u{d}\u{a}\u{1b}[2J\u{202e}b");
        assert_eq!(signed_name(&"x".repeat(1_000)).len(), 1_000);
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["consumer-1", "kafka-python/2.0 (x)", "größe", "订单", "заказы", "طلب", "a=b \"c\""]
        {
            assert_eq!(printed(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_moves_breaks_or_hides_is_escaped() {
        for (hostile, expected) in [
            (&b"\x1b[31m"[..], "\\u{1b}[31m"),
            (b"a\r\nb", "a\\u{d}\\u{a}b"),
            (b"\0\x7f", "\\u{0}\\u{7f}"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("\u{202e}\u{2066}\u{200f}\u{061c}".as_bytes(), "\\u{202e}\\u{2066}\\u{200f}\\u{61c}"),
            ("\u{2028}\u{feff}\u{200b}\u{ad}".as_bytes(), "\\u{2028}\\u{feff}\\u{200b}\\u{ad}"),
            ("a\u{301}\u{e0041}".as_bytes(), "a\\u{301}\\u{e0041}"),
            (b"\xff\xc3(", "\\xff\\xc3("),
            (b"\\u{1b}", "\\\\u{1b}"),
        ] {
            assert_eq!(printed(hostile), expected);
        }
    }

    #[test]
    fn the_text_is_cut_between_characters() {
        assert_eq!(printed(&[b'a'; 128]), "a".repeat(128));
        assert_eq!(printed(&[b'a'; 129]), format!("{}…", "a".repeat(125)));
        assert_eq!(printed(&[0x1b; 100_000]).len(), 6 * 20 + 3);
        let text = printed("ö".repeat(500).as_bytes());
        assert_eq!(text, format!("{}…", "ö".repeat(62)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_short_harmless_text(bytes: Vec<u8>) {
            let text = printed(&bytes);
            proptest::prop_assert!(text.len() <= PRINTED_BYTES_MAX);
            proptest::prop_assert!(text.chars().all(|c| is_harmless(c) || c == '\\' || c == '…'));
        }
    }
}
