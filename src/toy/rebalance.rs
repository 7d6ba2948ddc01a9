//! One classic consumer group: who is in it, and how its members agree on who reads what. No IO, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

/// How many members a group may have, and how many ids it may have given out that have not joined yet.
const MEMBERS_MAX: usize = 1_000;

/// What a member says of itself when it joins.
#[derive(Clone, Debug)]
pub(super) struct Joiner {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocol_type: String,
    /// Name and metadata, the preferred one first.
    pub(super) protocols: Vec<(String, Bytes)>,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) said: Joiner,
    pub(super) assignment: Bytes,
    joining: bool,
    heard: Instant,
}

impl Member {
    /// What the member said for a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.said.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody is in it.
    #[default]
    Empty,
    /// Waiting until every member has joined again, at most until then.
    Joining(Instant),
    /// Waiting for what the leader assigns.
    Syncing,
    /// Everybody knows what to read.
    Stable,
}

impl Phase {
    /// Kafka's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Joining(_) => "PreparingRebalance",
            Self::Syncing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A committed offset.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
}

/// What a member is told when all have joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    /// Id, instance and metadata of every member; for the leader alone.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) offsets: BTreeMap<(String, i32), Committed>,
    generation: i32,
    leader: String,
    /// Ids that were given out to members that then have to join with them (KIP-394).
    given: BTreeSet<String>,
}

impl Group {
    /// Remembers an id that a member is to join with.
    pub(super) fn give(&mut self, id: &str) {
        if self.given.len() >= MEMBERS_MAX {
            self.given.pop_first();
        }
        self.given.insert(id.to_owned());
    }

    /// The member of a static instance (KIP-345).
    pub(super) fn instance(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        members.find(|(_, m)| m.said.instance.as_deref() == Some(instance)).map(|(id, _)| id.as_str())
    }

    /// Whether a member may speak for itself.
    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        match instance.and_then(|instance| self.instance(instance)) {
            Some(owner) if owner != id => Err(ResponseError::FencedInstanceId),
            _ if self.members.contains_key(id) => Ok(()),
            _ => Err(ResponseError::UnknownMemberId),
        }
    }

    /// Whether a member may speak for itself in a generation.
    fn check(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), ResponseError> {
        self.check_member(id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// Lets a member join, for the first time or again. The answer comes from [`Group::joined`].
    pub(super) fn join(&mut self, id: &str, said: Joiner, now: Instant) -> Result<(), ResponseError> {
        self.expire(now);
        let known = self.members.contains_key(id);
        if !known && self.members.len() >= MEMBERS_MAX {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let others = || self.members.iter().filter(|(other, _)| *other != id).map(|(_, member)| member);
        let shared =
            |name: &String| others().all(|m| m.said.protocols.iter().any(|(theirs, _)| theirs == name));
        let fits = others().next().is_none()
            || (said.protocol_type == self.protocol_type
                && said.protocols.iter().any(|(name, _)| shared(name)));
        if !fits || said.protocols.is_empty() || said.protocol_type.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.heard = now;
            let same = member.said.protocols == said.protocols;
            let settled = match self.phase {
                Phase::Stable => same && id != self.leader,
                Phase::Syncing => same,
                Phase::Empty | Phase::Joining(_) => false,
            };
            if settled {
                return Ok(());
            }
        } else if !self.given.remove(id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.protocol_type.clone_from(&said.protocol_type);
        let member = Member { said, assignment: Bytes::new(), joining: true, heard: now };
        self.members.insert(id.to_owned(), member);
        self.rebalance(now);
        Ok(())
    }

    /// Replaces the member of a static instance by one with another id.
    pub(super) fn replace(&mut self, instance: &str, id: &str) {
        let old = self.instance(instance).map(str::to_owned);
        if let Some(member) = old.and_then(|old| self.members.remove(&old)) {
            self.members.insert(id.to_owned(), member);
        }
        self.give(id);
    }

    /// Asks every member to join again.
    fn rebalance(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.generation += 1;
            return;
        }
        if !matches!(self.phase, Phase::Joining(_)) {
            let longest = self.members.values().map(|m| m.said.rebalance).max().unwrap_or_default();
            self.phase = Phase::Joining(now + longest);
        }
        self.complete(now);
    }

    /// Begins the next generation once all have joined, or the time for it is over.
    fn complete(&mut self, now: Instant) {
        let Phase::Joining(until) = self.phase else { return };
        if now >= until {
            self.members.retain(|_, member| member.joining);
        }
        if self.members.is_empty() {
            self.rebalance(now);
            return;
        }
        if !self.members.values().all(|member| member.joining) {
            return;
        }
        self.generation += 1;
        self.phase = Phase::Syncing;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let offered = self.members.get(&self.leader).map(|m| m.said.protocols.clone()).unwrap_or_default();
        let by_all = |name: &String| {
            self.members.values().all(|m| m.said.protocols.iter().any(|(theirs, _)| theirs == name))
        };
        self.protocol = offered.into_iter().map(|(name, _)| name).find(by_all).unwrap_or_default();
        for member in self.members.values_mut() {
            member.joining = false;
            member.heard = now;
            member.assignment = Bytes::new();
        }
    }

    /// Drops members that were not heard for longer than their session.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = self.members.len();
        self.members.retain(|_, member| now < member.heard + member.said.session);
        if self.members.len() < before {
            self.rebalance(now);
        }
        self.complete(now);
    }

    /// Looks whether all have joined. `Err` is when to look again; looking is a sign of life.
    pub(super) fn joined(
        &mut self,
        id: &str,
        now: Instant,
    ) -> Result<Result<Joined, ResponseError>, Instant> {
        let Some(until) = self.alive(id, now) else { return Ok(Err(ResponseError::UnknownMemberId)) };
        let joining = self.members.get(id).is_some_and(|member| member.joining);
        match self.phase {
            Phase::Joining(limit) if joining => return Err(until.min(limit)),
            Phase::Joining(_) | Phase::Syncing | Phase::Stable | Phase::Empty => {}
        }
        let members = if id == self.leader {
            let listed = |(id, m): (&String, &Member)| {
                (id.clone(), m.said.instance.clone(), m.metadata(&self.protocol))
            };
            self.members.iter().map(listed).collect()
        } else {
            Vec::new()
        };
        Ok(Ok(Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members,
        }))
    }

    /// Notes a sign of life of a member that waits, drops the silent ones, and says when to look again.
    fn alive(&mut self, id: &str, now: Instant) -> Option<Instant> {
        self.members.get_mut(id)?.heard = now;
        self.expire(now);
        Some(now + self.members.get(id)?.said.session / 3)
    }

    /// Takes the leader's assignments. Every member gets its own from [`Group::synced`].
    pub(super) fn sync(
        &mut self,
        (id, instance, generation): (&str, Option<&str>, i32),
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.expire(now);
        self.check(id, instance, generation)?;
        if id == self.leader && self.phase == Phase::Syncing {
            for (member, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&member) {
                    member.assignment = assignment;
                }
            }
            self.phase = Phase::Stable;
        }
        Ok(())
    }

    /// Looks whether the leader has assigned. `Err` is when to look again; looking is a sign of life.
    pub(super) fn synced(
        &mut self,
        id: &str,
        generation: i32,
        now: Instant,
    ) -> Result<Result<Bytes, ResponseError>, Instant> {
        let Some(until) = self.alive(id, now) else { return Ok(Err(ResponseError::UnknownMemberId)) };
        match self.phase {
            _ if generation != self.generation => Ok(Err(ResponseError::RebalanceInProgress)),
            Phase::Empty | Phase::Joining(_) => Ok(Err(ResponseError::RebalanceInProgress)),
            Phase::Syncing => Err(until),
            Phase::Stable => Ok(Ok(self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default())),
        }
    }

    /// A sign of life, answered with what the member has to do.
    pub(super) fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if let Some(member) = self.members.get_mut(id) {
            member.heard = now;
        }
        self.expire(now);
        self.check(id, instance, generation)?;
        match self.phase {
            Phase::Joining(_) => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Syncing | Phase::Stable => Ok(()),
        }
    }

    /// Takes a member out.
    pub(super) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance.and_then(|instance| self.instance(instance)) {
            Some(owner) if id.is_empty() => owner.to_owned(),
            _ => id.to_owned(),
        };
        if self.given.remove(&id) {
            return Ok(());
        }
        self.check_member(&id, instance)?;
        self.members.remove(&id);
        self.rebalance(now);
        Ok(())
    }

    /// Whether a member may commit offsets. Without a generation a client commits for nobody, which is
    /// allowed while nobody is in the group.
    pub(super) fn may_commit(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.expire(now);
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(id, instance, generation)?;
        if let Some(member) = self.members.get_mut(id) {
            member.heard = now;
        }
        if self.phase == Phase::Syncing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joiner(protocols: &[&str]) -> Joiner {
        Joiner {
            instance: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session: Duration::from_secs(10),
            rebalance: Duration::from_secs(60),
            protocol_type: "consumer".into(),
            protocols: protocols.iter().map(|name| ((*name).to_owned(), Bytes::from_static(b"m"))).collect(),
        }
    }

    fn join(group: &mut Group, id: &str, now: Instant) {
        if !group.members.contains_key(id) {
            group.give(id);
        }
        group.join(id, joiner(&["range"]), now).unwrap();
    }

    /// A stable group of two, a leading.
    fn pair(now: Instant) -> Group {
        let mut group = Group::default();
        join(&mut group, "a", now);
        join(&mut group, "b", now);
        join(&mut group, "a", now);
        let assignments =
            vec![("a".into(), Bytes::from_static(b"A")), ("b".into(), Bytes::from_static(b"B"))];
        group.sync(("a", None, 2), assignments, now).unwrap();
        group
    }

    #[test]
    fn two_members_agree_in_two_generations() {
        let now = Instant::now();
        let mut group = Group::default();
        join(&mut group, "a", now);
        assert_eq!(group.joined("a", now).unwrap().unwrap().generation, 1);
        join(&mut group, "b", now);
        assert!(group.joined("b", now).is_err(), "b waits until a has joined again");
        assert_eq!(group.heartbeat("a", None, 1, now), Err(ResponseError::RebalanceInProgress));
        join(&mut group, "a", now);
        let (a, b) = (group.joined("a", now).unwrap().unwrap(), group.joined("b", now).unwrap().unwrap());
        assert_eq!((a.generation, a.members.len(), b.members.len()), (2, 2, 0));
        assert_eq!((a.leader.as_str(), a.protocol.as_str()), ("a", "range"));
        group.sync(("b", None, 2), Vec::new(), now).unwrap();
        assert!(group.synced("b", 2, now).is_err(), "b waits for the leader");
        group.sync(("a", None, 2), vec![("b".into(), Bytes::from_static(b"B"))], now).unwrap();
        assert_eq!(group.synced("b", 2, now), Ok(Ok(Bytes::from_static(b"B"))));
        assert_eq!(group.heartbeat("b", None, 2, now), Ok(()));
        assert_eq!(group.heartbeat("b", None, 1, now), Err(ResponseError::IllegalGeneration));
        assert_eq!(group.heartbeat("c", None, 2, now), Err(ResponseError::UnknownMemberId));
    }

    #[test]
    fn a_silent_member_is_dropped_and_the_rest_join_again() {
        let now = Instant::now();
        let mut group = pair(now);
        let later = now + Duration::from_secs(9);
        assert_eq!(group.heartbeat("b", None, 2, later), Ok(()));
        let later = now + Duration::from_secs(11);
        assert_eq!(group.heartbeat("b", None, 2, later), Err(ResponseError::RebalanceInProgress));
        join(&mut group, "b", later);
        let joined = group.joined("b", later).unwrap().unwrap();
        assert_eq!((joined.leader.as_str(), joined.members.len()), ("b", 1));
    }

    #[test]
    fn a_member_that_leaves_makes_the_rest_join_again() {
        let now = Instant::now();
        let mut group = pair(now);
        assert_eq!(group.leave("b", None, now), Ok(()));
        assert_eq!(group.heartbeat("a", None, 2, now), Err(ResponseError::RebalanceInProgress));
        assert_eq!(group.leave("a", None, now), Ok(()));
        assert_eq!(group.phase, Phase::Empty);
        assert_eq!(group.may_commit("", None, -1, now), Ok(()));
    }

    #[test]
    fn who_does_not_join_again_in_time_is_left_behind() {
        let now = Instant::now();
        let mut group = pair(now);
        group.leave("b", None, now).unwrap();
        join(&mut group, "c", now);
        let mut at = now;
        // The heartbeats of a keep its session; it just never joins again.
        while at < now + Duration::from_secs(59) {
            at += Duration::from_secs(3);
            let _ = group.heartbeat("a", None, 2, at);
            let _ = group.joined("c", at);
        }
        at += Duration::from_secs(3);
        assert_eq!(group.joined("c", at).unwrap().unwrap().members.len(), 1);
        assert_eq!(group.heartbeat("a", None, 2, at), Err(ResponseError::UnknownMemberId));
    }

    #[test]
    fn members_must_share_a_protocol_and_unknown_ids_are_refused() {
        let now = Instant::now();
        let mut group = pair(now);
        group.give("c");
        let refused = group.join("c", joiner(&["sticky"]), now);
        assert_eq!(refused, Err(ResponseError::InconsistentGroupProtocol));
        assert_eq!(group.join("d", joiner(&["range"]), now), Err(ResponseError::UnknownMemberId));
        assert_eq!(group.may_commit("a", None, 1, now), Err(ResponseError::IllegalGeneration));
        assert_eq!(group.may_commit("a", None, 2, now), Ok(()));
    }

    #[test]
    fn a_static_instance_that_comes_again_fences_its_former_self() {
        let now = Instant::now();
        let mut group = Group::default();
        group.give("old");
        let said = Joiner { instance: Some("i".into()), ..joiner(&["range"]) };
        group.join("old", said.clone(), now).unwrap();
        group.replace("i", "new");
        group.join("new", said, now).unwrap();
        assert_eq!(group.heartbeat("old", Some("i"), 1, now), Err(ResponseError::FencedInstanceId));
        assert_eq!(group.members.len(), 1);
    }
}
