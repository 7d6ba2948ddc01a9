//! `ssl.principal.mapping.rules`: a name out of a certificate's subject, as a Kafka broker makes it.
//!
//! Kafka's `SslPrincipalMapper` is the measure, with the oddities that its users rely on: a pattern must match the
//! whole subject, but what is then replaced is every match that is found in it, so `.*` without a `^` fires twice.
//! What Kafka would only find out when a client comes (a group that is not there) is an error here at once.

mod pattern;

use std::fmt;

use regex_lite::{Captures, Regex};

use crate::logging::printable;

/// The longest text of rules, in bytes.
const RULES_BYTES_MAX: usize = 16 * 1024;

/// The longest name that a rule may make, in bytes: no pattern can blow a subject up without bound.
const NAME_BYTES_MAX: usize = 4096;

/// Rules, of which the first whose pattern matches the whole subject gives the name. By default there is one,
/// `DEFAULT`: the subject itself.
#[derive(Clone, Debug)]
pub struct Rules {
    text: String,
    rules: Vec<Rule>,
}

/// Why rules cannot be used, or give no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is longer than 16 KiB.
    #[error("mapping rules have at most {RULES_BYTES_MAX} bytes")]
    TooLong,
    /// There is no rule in the text, so that every client would be refused.
    #[error("there is no mapping rule: leave them out, or write `DEFAULT`")]
    Empty,
    /// A part of the text is no rule.
    #[error(
        "`{0}` is not a mapping rule: `DEFAULT`, or `RULE:pattern/replacement/` with `L` or `U` after it or nothing"
    )]
    Syntax(String),
    /// A pattern uses what cannot be done here, or is no pattern.
    #[error("the pattern `{pattern}` of a mapping rule cannot be used: {reason}")]
    Pattern {
        /// The pattern, as it stands in the rule.
        pattern: String,
        /// The construct, and what is wrong with it.
        reason: String,
    },
    /// A replacement refers to what its pattern does not have.
    #[error("the replacement `{replacement}` of a mapping rule cannot be used: {reason}")]
    Replacement {
        /// The replacement, as it stands in the rule.
        replacement: String,
        /// The reference, and what is wrong with it.
        reason: String,
    },
    /// No rule is for this subject.
    #[error("no mapping rule is for the subject `{}`", printable::signed_name(.0))]
    NoMatch(String),
    /// What a rule makes of this subject is longer than a name may be.
    #[error("a mapping rule makes a name of more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
}

impl Rules {
    /// Reads rules as Kafka writes them: `RULE:pattern/replacement/[LU]` and `DEFAULT`, with commas between. A slash
    /// in a pattern or replacement has a backslash before it.
    ///
    /// Patterns are those of Java, without look-around, back references, possessive quantifiers, classes within
    /// classes, and flags other than `(?i)`: each is an error that names it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > RULES_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let mut rules = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (rule, after) = Rule::split(rest)?;
            rules.extend(rule);
            rest = after.trim_start();
        }
        if rules.is_empty() { Err(Error::Empty) } else { Ok(Self { text: text.to_owned(), rules }) }
    }

    /// The name for a subject, which is [as Java prints it](super::principal::java_name).
    pub fn apply(&self, subject: &str) -> Result<String, Error> {
        for rule in &self.rules {
            if let Some(name) = rule.apply(subject)? {
                return Ok(name);
            }
        }
        Err(Error::NoMatch(subject.to_owned()))
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { text: "DEFAULT".to_owned(), rules: vec![Rule::Default] }
    }
}

/// As the configuration has it.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace(Box<Replace>),
}

#[derive(Clone, Debug)]
struct Replace {
    /// The pattern between anchors.
    whole: Regex,
    /// The pattern alone.
    each: Regex,
    replacement: Vec<Piece>,
    case: Case,
}

/// A part of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(char),
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl Rule {
    /// The first rule of a text, if there is one before the first comma, and the text after that comma.
    fn split(text: &str) -> Result<(Option<Self>, &str), Error> {
        let fault = || {
            let end = text.find(',').unwrap_or(text.len());
            Error::Syntax(text.get(..end).unwrap_or(text).trim_end().to_owned())
        };
        let (rule, after) = if let Some(after) = text.strip_prefix("DEFAULT") {
            (Some(Self::Default), after)
        } else if let Some(after) = text.strip_prefix("RULE:") {
            let (pattern, after) = part(after).ok_or_else(fault)?;
            let (replacement, after) = part(after).ok_or_else(fault)?;
            let (case, after) = match (after.strip_prefix('L'), after.strip_prefix('U')) {
                (Some(after), _) => (Case::Lower, after),
                (None, Some(after)) => (Case::Upper, after),
                (None, None) => (Case::Kept, after),
            };
            (Some(Self::replace(pattern, replacement, case)?), after)
        } else {
            (None, text)
        };
        match after.trim_start() {
            "" => Ok((rule, "")),
            after => Ok((rule, after.strip_prefix(',').ok_or_else(fault)?)),
        }
    }

    fn replace(pattern: &str, replacement: &str, case: Case) -> Result<Self, Error> {
        let (whole, each) = pattern::compile(pattern)
            .map_err(|reason| Error::Pattern { pattern: pattern.to_owned(), reason })?;
        let replacement = pieces(replacement, &each)
            .map_err(|reason| Error::Replacement { replacement: replacement.to_owned(), reason })?;
        Ok(Self::Replace(Box::new(Replace { whole, each, replacement, case })))
    }

    fn apply(&self, subject: &str) -> Result<Option<String>, Error> {
        match self {
            Self::Default => Ok(Some(subject.to_owned())),
            Self::Replace(rule) if rule.whole.is_match(subject) => rule.apply(subject).map(Some),
            Self::Replace(_) => Ok(None),
        }
    }
}

impl Replace {
    /// Java's `replaceAll`: after a match of nothing the search goes on one character later, so a match of nothing
    /// may follow directly on another match.
    fn apply(&self, subject: &str) -> Result<String, Error> {
        let mut name = String::with_capacity(subject.len());
        let (mut copied, mut from) = (0, 0);
        while let Some(found) = self.each.captures_at(subject, from) {
            let Some(whole) = found.get(0) else { break };
            name.push_str(subject.get(copied..whole.start()).unwrap_or_default());
            self.expand(&found, &mut name);
            if name.len() > NAME_BYTES_MAX {
                return Err(Error::NameTooLong);
            }
            copied = whole.end();
            from = whole.end();
            if whole.is_empty() {
                match subject.get(from..).and_then(|rest| rest.chars().next()) {
                    Some(skipped) => from += skipped.len_utf8(),
                    None => break,
                }
            }
        }
        name.push_str(subject.get(copied..).unwrap_or_default());
        let name = match self.case {
            Case::Kept => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        };
        if name.len() > NAME_BYTES_MAX { Err(Error::NameTooLong) } else { Ok(name) }
    }

    fn expand(&self, found: &Captures<'_>, name: &mut String) {
        for piece in &self.replacement {
            match *piece {
                Piece::Text(c) => name.push(c),
                Piece::Group(group) => name.push_str(found.get(group).map_or("", |group| group.as_str())),
            }
        }
    }
}

/// The text up to a slash that has no backslash before it, and what follows the slash.
fn part(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\n' if escaped => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '/' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Reads a replacement as Java's `Matcher.appendReplacement` does, after Kafka took the meaning from references to
/// groups that are not there.
fn pieces(replacement: &str, pattern: &Regex) -> Result<Vec<Piece>, String> {
    let groups = pattern.captures_len() - 1;
    let text: Vec<char> = with_literal_references(replacement, groups)?;
    let mut rest = text.into_iter().peekable();
    let mut pieces = Vec::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => pieces.push(Piece::Text(rest.next().ok_or("it ends in a backslash")?)),
            '$' if rest.next_if_eq(&'{').is_some() => {
                let mut name = String::new();
                while let Some(c) = rest.next_if(char::is_ascii_alphanumeric) {
                    name.push(c);
                }
                let place = pattern.capture_names().position(|group| group == Some(name.as_str()));
                let group = place.filter(|_| rest.next_if_eq(&'}').is_some());
                pieces.push(Piece::Group(
                    group.ok_or_else(|| format!("`${{{name}}}` is no group of the pattern"))?,
                ));
            }
            '$' => {
                let first =
                    rest.next().and_then(|digit| digit.to_digit(10)).ok_or("a `$` without a number")?;
                let mut group = first as usize;
                while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > groups {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                if group > groups {
                    return Err(format!("`${group}` is no group of the pattern"));
                }
                pieces.push(Piece::Group(group));
            }
            c => pieces.push(Piece::Text(c)),
        }
    }
    Ok(pieces)
}

/// Kafka's `escapeLiteralBackReferences`: a backslash before `$12` when neither 12 nor 1 is a group. It counts the
/// backslashes that it adds as if they were not there, so only the first such reference of a text comes out right;
/// with a second one Kafka may fail at every client, and here it is an error.
fn with_literal_references(replacement: &str, groups: usize) -> Result<Vec<char>, String> {
    let original: Vec<char> = replacement.chars().collect();
    let mut text = original.clone();
    let mut at = 0;
    while groups > 0 && at < original.len() {
        let digits: String = match original.get(at) {
            Some('$') => original.iter().skip(at + 1).take_while(|c| c.is_ascii_digit()).collect(),
            Some(_) | None => String::new(),
        };
        if !digits.is_empty() && !digits.starts_with('0') {
            let mut group: i32 = digits.parse().map_err(|_| format!("`${digits}` is too large a number"))?;
            while group as usize > groups && group >= 10 {
                group /= 10;
            }
            if group as usize > groups {
                text.insert(at, '\\');
            }
        }
        at += 1 + digits.len();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(rules: &str, subject: &str) -> Result<String, Error> {
        Rules::parse(rules)?.apply(subject)
    }

    fn no_match(subject: &str) -> Result<String, Error> {
        Err(Error::NoMatch(subject.to_owned()))
    }

    #[track_caller]
    fn refused(rules: &str, wanted: &str) {
        let text = Rules::parse(rules).unwrap_err().to_string();
        assert!(text.contains(wanted), "{text}");
    }

    /// From Kafka's own tests of its mapper.
    #[test]
    fn the_first_rule_for_a_subject_names_it() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, \
            RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
            RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        for (subject, expected) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "duke"),
            ("CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", "duke@sme"),
            ("CN=duke,OU=JavaSoft,O=Sun Microsystems", "DUKE"),
            ("OU=JavaSoft,O=Sun Microsystems,C=US", "OU=JavaSoft,O=Sun Microsystems,C=US"),
        ] {
            assert_eq!(name(rules, subject).unwrap(), expected);
        }
        assert_eq!(Rules::default().apply("CN=a").unwrap(), "CN=a");
        assert_eq!(name("RULE:^OU=(.*)$/$1/", "CN=a"), no_match("CN=a"));
    }

    /// Each was asked of `SslPrincipalMapper` of Kafka 4.4; 40,000 random rules agreed when this was written.
    #[test]
    fn oddities_are_those_of_kafka() {
        for (rules, subject, expected) in [
            ("RULE:.*/x/", "CN=a", "xx"),
            ("RULE:a*/-/", "aa", "--"),
            ("RULE:^.*/x/", "CN=a", "x"),
            ("RULE:^CN=(.*)$/$2/", "CN=a", "$2"),
            ("RULE:^CN=(.*)$/$12/", "CN=a", "a2"),
            ("RULE:^CN=(.*)$/$01/", "CN=a", "a"),
            ("RULE:^CN=(.*)$/[$0]/", "CN=a", "[CN=a]"),
            ("RULE:^CN=(?<who>.*)$/${who}@x/", "CN=a", "a@x"),
            (r"RULE:^CN=(.*)$/\$1\\/", "CN=a", r"$1\"),
            (r"RULE:^CN=(.*?)\/(.*)$/$1\/$2/", "CN=a/b", "a/b"),
            (r"RULE:^CN=(.*?)\<.*$/$1/", "CN=a<b", "a"),
            ("RULE:^CN=(a)?(b)?$/$1$2/", "CN=b", "b"),
            ("RULE:^(?i)cn=(.*)$/$1/U", "CN=straße", "STRASSE"),
            (" RULE:^CN=(.*?),.*$/$1/ ,, DEFAULT, ", "CN=a,OU=b", "a"),
            ("DEFAULT ,", "CN=a,OU=b", "CN=a,OU=b"),
            ("RULE:.+/y/", "ab\nc", "none"),
            ("RULE:.+/y/", "ab\u{2028}c", "none"),
            ("RULE:^[^,]+$/y/", "ab\nc", "y"),
        ] {
            let expected = if expected == "none" { no_match(subject) } else { Ok(expected.to_owned()) };
            assert_eq!(name(rules, subject), expected, "{rules}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        assert_eq!(Rules::parse(" , ").unwrap_err(), Error::Empty);
        assert_eq!(Rules::parse(&"DEFAULT,".repeat(3000)).unwrap_err(), Error::TooLong);
        for (rules, part) in [
            ("CN=(.*)", "CN=(.*)"),
            ("DEFAULT, RULE:a/b", "RULE:a/b"),
            ("RULE:a/b/LU, DEFAULT", "RULE:a/b/LU"),
            ("RULE:a/b/ x", "RULE:a/b/ x"),
            ("DEFAULTS", "DEFAULTS"),
            ("default", "default"),
        ] {
            assert_eq!(Rules::parse(rules).unwrap_err(), Error::Syntax(part.to_owned()));
        }
    }

    #[test]
    fn constructs_that_cannot_be_had_are_named() {
        refused("RULE:^CN=(?=a).*$/x/", "look-around is not supported");
        refused("RULE:^CN=(?<!a).*$/x/", "look-around is not supported");
        refused("RULE:^(?>a)$/x/", "`(?>` is not supported");
        refused("RULE:^.*+$/x/", "possessive quantifier `*+`");
        refused("RULE:^a{1,2}+$/x/", "possessive quantifier `{1,2}+`");
        refused("RULE:^a**$/x/", "`*` after the quantifier `*`");
        refused(r"RULE:^(a)\1$/x/", r"\1 is not supported");
        refused(r"RULE:^\p{Lu}$/x/", r"\p is not supported");
        refused(r"RULE:^\Qa\E$/x/", r"\Q is not supported");
        refused("RULE:^[a[b]]$/x/", "a class within a class");
        refused("RULE:^[a-z&&[b]]$/x/", "`&&` in a class");
        refused("RULE:^(?s).*$/x/", "`(?s` is not supported");
        refused("RULE:^{/x/", "a `{` that is meant as itself");
        refused("RULE:^(a$/x/", "found open group without closing");
        refused("RULE:^(.{500}){500}$/x/", "exceeded size limit");
        refused("RULE:^a$/$1/", "`$1` is no group");
        refused("RULE:^(a)$/${b}/", "`${b}` is no group");
        refused("RULE:^(a)$/$2$3/", "`$3` is no group");
        refused("RULE:^(a)$/$/", "a `$` without a number");
        refused("RULE:^(a)$/$99999999999/", "too large a number");
    }

    #[test]
    fn a_name_is_bounded_and_its_error_harmless() {
        assert_eq!(name("RULE:a/$0$0$0$0$0/", &"a".repeat(4000)), no_match(&"a".repeat(4000)));
        assert_eq!(name("RULE:a+?/$0$0$0$0$0/", &"a".repeat(4000)), Err(Error::NameTooLong));
        let shown = name("RULE:b/b/", "CN=\u{1b}[2J\n").unwrap_err().to_string();
        assert!(!shown.contains(['\u{1b}', '\n']), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_panics(rules in r"(RULE:[a-z().*+?\[\]{}$^|\\/é,0-9]{0,20}/[$0-9{}\\a]{0,6}/[LU]?,?|\PC{0,12}){0,3}", subject in ".{0,20}") {
            if let Ok(rules) = Rules::parse(&rules) {
                let _ = rules.apply(&subject);
            }
        }
    }
}
