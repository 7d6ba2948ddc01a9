//! Text as other programs must see it written, so that they read it as it is.

/// A scalar for YAML: a string, whatever is in it. A string of JSON is one, once all that YAML cannot print is
/// escaped.
pub(super) fn yaml(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::new(), |mut quoted, c| {
        match u32::from(c) {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                quoted.push_str(&format!("\\u{code:04x}"));
            }
            _ => quoted.push(c),
        }
        quoted
    })
}

/// The same for compose, which replaces variables in every value.
pub(super) fn compose(text: &str) -> String {
    yaml(&text.replace('$', "$$"))
}

/// One argument of a command in a unit: without specifiers and variables.
pub(super) fn unit(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Within double quotes systemd knows the escapes that JSON has.
    yaml(&text.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_reads_back_what_was_written() {
        for text in [
            "on",
            "null",
            "5",
            "a: b",
            "{name}",
            "a, b",
            "\"\\'#&*!|>%@`",
            "",
            " x ",
            "a\n\tb",
            "é\u{7f}\u{85}\u{feff}😀",
        ] {
            let quoted = yaml(text);
            let read: serde_json::Value = serde_saphyr::from_str(&format!("{{ a: [{quoted}] }}")).unwrap();
            assert_eq!(read["a"][0], text, "{quoted}");
            assert!(!quoted.contains(['\n', '\u{7f}', '\u{85}', '\u{feff}']), "{quoted}");
        }
        assert_eq!(compose("$HOME/${A}"), r#""$$HOME/$${A}""#);
    }

    #[test]
    fn a_unit_replaces_nothing() {
        assert_eq!(unit("/etc/gatehouse/gatehouse.yaml"), "/etc/gatehouse/gatehouse.yaml");
        assert_eq!(unit(r#"/we"ird $HOME%n dir\x/g"#), r#""/we\"ird $$HOME%%n dir\\x/g""#);
        assert_eq!(unit("/it's"), "\"/it's\"");
    }
}
