//! Which Kafka a broker is, as far as the versions of its requests tell.

use crate::kafka::api;
use crate::topology::exchange::Offered;

/// The key of Produce, of which nearly every release has a version of its own.
const PRODUCE: i16 = 0;

/// The release that brought a version of Produce, newest first.
const RELEASES: [(i16, &str); 10] = [
    (13, "4.1"),
    (12, "4.0"),
    (11, "3.8"),
    (10, "3.7"),
    (9, "2.8"),
    (8, "2.4"),
    (7, "2.1"),
    (6, "2.0"),
    (5, "1.0"),
    (3, "0.11"),
];

/// `Kafka 3.8 or newer`, and how much of it is held back because this gateway does not know it.
pub(super) fn of(offered: &[Offered]) -> Vec<String> {
    let produce = offered.iter().find(|api| api.key == PRODUCE);
    let release = produce.and_then(|api| RELEASES.iter().find(|(version, _)| api.newest >= *version));
    let mut told = Vec::new();
    told.extend(release.map(|(_, release)| format!("Kafka {release} or newer")));
    let is_unknown =
        |offered: &&Offered| api::find(offered.key).is_none_or(|api| offered.newest > api.newest);
    match offered.iter().filter(is_unknown).count() {
        0 => {}
        1 => told.push("1 request in a version that is held back".to_owned()),
        unknown => told.push(format!("{unknown} requests in versions that are held back")),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_told_by_its_produce_and_what_is_newer_is_counted() {
        let of = |list: &[(i16, i16)]| {
            of(&list.iter().map(|(key, newest)| Offered { key: *key, newest: *newest }).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(0, 11), (3, 12)]), ["Kafka 3.8 or newer"]);
        assert_eq!(of(&[(0, 4)]), ["Kafka 0.11 or newer"]);
        assert_eq!(of(&[(0, 2)]), Vec::<String>::new());
        let newer = [(0, i16::MAX), (3, i16::MAX), (30_000, 0)];
        assert_eq!(of(&newer), ["Kafka 4.1 or newer", "3 requests in versions that are held back"]);
    }
}
