//! How a toy broker can be told to misbehave: which requests, how often, and what it does then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::world::Endpoint;
use crate::kafka::NodeId;

/// A rule: the next `times` requests that match are answered badly.
#[derive(Clone, Debug)]
pub struct Misbehaviour {
    /// Only this broker; `None` for all.
    pub node: Option<NodeId>,
    /// Only requests of this API key; `None` for all.
    pub api: Option<i16>,
    /// How many requests, after which the rule is gone; `None` for ever.
    pub times: Option<usize>,
    /// What happens.
    pub act: Act,
}

impl Misbehaviour {
    /// A rule for every request of every broker, for ever.
    pub fn always(act: Act) -> Self {
        Self { node: None, api: None, times: None, act }
    }

    /// The same rule for one API key only.
    #[must_use]
    pub fn api(self, key: i16) -> Self {
        Self { api: Some(key), ..self }
    }

    /// The same rule for one broker only.
    #[must_use]
    pub fn node(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// The same rule for the next `times` requests only.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// What a broker does instead of what it should.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers after that time.
    Delay(Duration),
    /// Closes the connection without doing what was asked.
    DropBefore,
    /// Does what was asked, then closes the connection without an answer.
    DropAfter,
    /// Sends that many bytes of the answer (its length counted in), then closes the connection.
    DropMidFrame(usize),
    /// Answers with the correlation id plus this number.
    WrongCorrelationId(i32),
    /// Sends these bytes in place of the whole answer, length and header too.
    Raw(Bytes),
    /// Sends these bytes as the body, after a proper length and header.
    Body(Bytes),
    /// Answers with these brokers in place of the ones that there are.
    Announce(Vec<Endpoint>),
    /// Never answers; the connection stays open.
    Silence,
}

/// The rules that are in force, oldest first.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<Vec<Misbehaviour>>);

impl Rules {
    pub(super) fn add(&self, rule: Misbehaviour) {
        self.lock().push(rule);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What the first matching rule says, counted.
    pub(super) fn take(&self, node: NodeId, api: i16) -> Option<Act> {
        let mut rules = self.lock();
        let place = rules
            .iter()
            .position(|r| r.node.is_none_or(|n| n == node) && r.api.is_none_or(|key| key == api))?;
        let rule = rules.get_mut(place)?;
        let act = rule.act.clone();
        if let Some(times) = &mut rule.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                rules.remove(place);
            }
        }
        Some(act)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Misbehaviour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_for_its_broker_and_api_and_count() {
        let rules = Rules::default();
        rules.add(Misbehaviour::always(Act::Silence).node(NodeId(1)).api(3).times(2));
        assert!(rules.take(NodeId(2), 3).is_none() && rules.take(NodeId(1), 18).is_none());
        assert!(rules.take(NodeId(1), 3).is_some() && rules.take(NodeId(1), 3).is_some());
        assert!(rules.take(NodeId(1), 3).is_none());
        rules.add(Misbehaviour::always(Act::DropBefore));
        assert!((0..10).all(|api| matches!(rules.take(NodeId(7), api), Some(Act::DropBefore))));
        rules.clear();
        assert!(rules.take(NodeId(7), 0).is_none());
    }
}
