//! Java's regular expressions in those of regex-lite: what means the same, and an error for all else.

use std::iter::Peekable;
use std::str::Chars;

use regex_lite::{Regex, RegexBuilder};

/// What a compiled pattern may occupy, in bytes.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// Java's dot leaves out more ends of lines than `\n`.
const DOT: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";

/// The pattern as it must match a whole subject, and as it is found in one. The error names the construct.
pub(super) fn compile(java: &str) -> Result<(Regex, Regex), String> {
    let each = Translation { rest: java.chars().peekable(), out: String::new() }.all()?;
    let build = |pattern: &str| {
        RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| error.to_string())
    };
    Ok((build(&format!(r"\A(?:{each})\z"))?, build(&each)?))
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

impl Translation<'_> {
    fn all(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape("AzbBdDsSwW")?,
                '.' => self.out.push_str(DOT),
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.out.push(c);
                    self.after_quantifier(c.to_string())?;
                }
                '{' => self.counted()?,
                '^' | '$' | '|' | ')' => self.out.push(c),
                literal => self.literal(literal),
            }
        }
        Ok(self.out)
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// What follows a backslash: one of `kinds`, a character by its number or its usual letter, or a literal one.
    fn escape(&mut self, kinds: &str) -> Result<(), String> {
        match self.rest.next() {
            None => Err("it ends in a backslash".to_owned()),
            Some('b') if kinds.contains('b') && self.rest.peek() == Some(&'{') => Err(unsupported(r"\b{")),
            Some(c) if kinds.contains(c) || "tnrfaxu".contains(c) => {
                self.out.extend(['\\', c]);
                Ok(())
            }
            Some(c) if c.is_ascii_alphanumeric() => Err(unsupported(&format!("\\{c}"))),
            Some(c) => {
                self.literal(c);
                Ok(())
            }
        }
    }

    /// After an opening bracket.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        if self.rest.peek() == Some(&']') {
            return Err(unsupported("`]` as the first of a class, without a backslash"));
        }
        loop {
            match self.rest.next() {
                None => return Err("a `[` is not closed".to_owned()),
                Some(']') => break,
                Some('[') => return Err(unsupported("a class within a class")),
                Some('&') if self.rest.peek() == Some(&'&') => return Err(unsupported("`&&` in a class")),
                Some('\\') => self.escape("dDsSwW")?,
                Some('-') => self.out.push('-'),
                Some(literal) => self.literal(literal),
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// After an opening parenthesis.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        let mut kind = String::from("?");
        while let Some(c) = self.rest.next_if(|&c| !":)=!>(".contains(c)) {
            kind.push(c);
        }
        let end = self.rest.next();
        match (kind.as_str(), end) {
            ("?" | "?i" | "?-i", Some(':')) | ("?i" | "?-i", Some(')')) => {}
            ("?" | "?<", Some('=' | '!')) => return Err(unsupported("look-around")),
            ("?", Some('>')) => return Err(unsupported("a group that does not give back, `(?>`")),
            (name, Some('>')) if is_group_name(name) => {}
            (other, _) => return Err(unsupported(&format!("`({other}`"))),
        }
        self.out.push_str(&kind);
        self.out.extend(end);
        match (end, self.rest.peek()) {
            (Some(')'), Some(c @ ('*' | '+' | '?' | '{'))) => {
                Err(unsupported(&format!("`{c}` after `({kind})`")))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// After an opening brace.
    fn counted(&mut self) -> Result<(), String> {
        let mut count = String::from("{");
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || *c == ',') {
            count.push(c);
        }
        let counts = count.trim_start_matches('{').starts_with(|c: char| c.is_ascii_digit());
        if !counts || self.rest.next_if_eq(&'}').is_none() {
            return Err("a `{` that is meant as itself needs a backslash".to_owned());
        }
        count.push('}');
        self.out.push_str(&count);
        self.after_quantifier(count)
    }

    /// A quantifier may be followed by a `?`, and by nothing else of its kind.
    fn after_quantifier(&mut self, mut quantifier: String) -> Result<(), String> {
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
            quantifier.push('?');
        }
        match self.rest.peek() {
            Some('+') => Err(unsupported(&format!("the possessive quantifier `{quantifier}+`"))),
            Some(c @ ('*' | '?' | '{')) => {
                Err(unsupported(&format!("`{c}` after the quantifier `{quantifier}`")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// `?<name`, by Java's rules for names.
fn is_group_name(text: &str) -> bool {
    text.strip_prefix("?<").is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

fn unsupported(construct: &str) -> String {
    format!("{construct} is not supported")
}
