//! Text with places that are filled in, each once: what is put in is not looked at again.

/// Puts the values in the place of their `{NAME}`. A name that is a line of its own stands for whole lines, or none;
/// braces around anything else stay.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let mut text = String::new();
    for line in template.split_inclusive('\n') {
        let alone = line.trim_end().strip_prefix('{').and_then(|line| value(line.strip_suffix('}')?));
        if let Some(lines) = alone {
            text.push_str(lines);
            continue;
        }
        let mut rest = line;
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            let known = behind.split_once('}').and_then(|(name, behind)| Some((value(name)?, behind)));
            let (put, behind) = known.unwrap_or(("{", behind));
            text.push_str(put);
            rest = behind;
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_stays() {
        let values = [("a", "{b}".to_owned()), ("b", "{a}".to_owned()), ("none", String::new())];
        assert_eq!(fill("x: { y: {a}, z: {c} }\n{none}\n{b}", &values), "x: { y: {b}, z: {c} }\n{a}");
    }
}
