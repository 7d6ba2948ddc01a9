//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::call::{Call, text};
use super::rebalance::{Group, Joiner};
use super::world::World;

/// The longest session and rebalance that a member may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(1_800);

/// The first version in which a member gets its id before it joins (KIP-394).
const ID_FIRST_SINCE: i16 = 4;

/// The first version in which several members may leave at once, and static ones by their instance.
const SEVERAL_LEAVE_SINCE: i16 = 3;

/// A group, if this broker is its coordinator.
pub(super) fn group<'a>(
    call: &Call<'_>,
    world: &'a mut World,
    id: &str,
) -> Result<&'a mut Group, ResponseError> {
    if world.coordinator(id) != Some(call.node) {
        return Err(ResponseError::NotCoordinator);
    }
    world.group(id)
}

pub(super) async fn join(call: &Call<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let group_id = request.group_id.clone();
    let entered = call.shared.change(|world| enter(call, world, request));
    let member_id = match entered {
        Ok(member_id) => member_id,
        Err((error, member_id)) => return refused(error, &member_id),
    };
    let joined = call
        .shared
        .wait(|world| match group(call, world, &group_id) {
            Ok(group) => group.joined(&member_id, Instant::now()),
            Err(error) => Ok(Err(error)),
        })
        .await;
    // That this one has joined may be what the others wait for.
    call.shared.change(|_| ());
    let joined = match joined {
        Ok(joined) => joined,
        Err(error) => return refused(error, &member_id),
    };
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.map(text))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(joined.protocol_type)))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(member_id))
        .with_members(members.collect())
}

fn refused(error: ResponseError, member_id: &str) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::default()))
        .with_member_id(text(member_id))
}

/// Lets a member into a group and returns its id; an error comes with the id that goes into the answer.
fn enter(
    call: &Call<'_>,
    world: &mut World,
    request: JoinGroupRequest,
) -> Result<String, (ResponseError, String)> {
    let asked = request.member_id.to_string();
    let fresh = asked.is_empty();
    let id = if fresh { world.member_id(call.client_id) } else { asked.clone() };
    let failed = |error| (error, asked.clone());
    let group = group(call, world, &request.group_id).map_err(failed)?;
    let instance = request.group_instance_id.map(|instance| instance.to_string());
    if fresh {
        match &instance {
            Some(instance) => group.replace(instance, &id),
            None => group.give(&id),
        }
        if instance.is_none() && call.version >= ID_FIRST_SINCE {
            return Err((ResponseError::MemberIdRequired, id));
        }
    }
    let session = duration(request.session_timeout_ms);
    if session.is_zero() {
        return Err(failed(ResponseError::InvalidSessionTimeout));
    }
    let rebalance = duration(request.rebalance_timeout_ms);
    let protocols = request.protocols.into_iter();
    let said = Joiner {
        instance,
        client_id: call.client_id.to_owned(),
        client_host: format!("/{}", call.client_host),
        session,
        rebalance: if rebalance.is_zero() { session } else { rebalance },
        protocol_type: request.protocol_type.to_string(),
        // Copies, so that a group does not keep the frame of a request.
        protocols: protocols.map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata))).collect(),
    };
    group.join(&id, said, Instant::now()).map_err(failed)?;
    Ok(id)
}

fn duration(milliseconds: i32) -> Duration {
    Duration::from_millis(milliseconds.max(0) as u64).min(TIMEOUT_MAX)
}

pub(super) async fn sync(call: &Call<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let (id, generation) = (request.member_id.to_string(), request.generation_id);
    let instance = request.group_instance_id.as_deref();
    let assignments = request.assignments.iter();
    let assignments =
        assignments.map(|a| (a.member_id.to_string(), Bytes::copy_from_slice(&a.assignment))).collect();
    let taken = call.shared.change(|world| {
        group(call, world, &request.group_id)?.sync((&id, instance, generation), assignments, Instant::now())
    });
    let refused = |error: ResponseError| SyncGroupResponse::default().with_error_code(error.code());
    if let Err(error) = taken {
        return refused(error);
    }
    let synced = call
        .shared
        .wait(|world| match group(call, world, &request.group_id) {
            Ok(group) => {
                let names = (group.protocol_type.clone(), group.protocol.clone());
                let synced = group.synced(&id, generation, Instant::now())?;
                Ok(synced.map(|assignment| (assignment, names)))
            }
            Err(error) => Ok(Err(error)),
        })
        .await;
    match synced {
        Err(error) => refused(error),
        Ok((assignment, (protocol_type, protocol))) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(protocol_type)))
            .with_protocol_name(Some(text(protocol)))
            .with_assignment(assignment),
    }
}

pub(super) fn heartbeat(call: &Call<'_>, request: &HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let beat = call.shared.change(|world| {
        let group = group(call, world, &request.group_id)?;
        group.heartbeat(&request.member_id, instance, request.generation_id, Instant::now())
    });
    HeartbeatResponse::default().with_error_code(beat.err().map_or(0, |error| error.code()))
}

pub(super) fn leave(call: &Call<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let answer = LeaveGroupResponse::default();
    let code = |left: Result<(), ResponseError>| left.err().map_or(0, |error| error.code());
    call.shared.change(|world| {
        let group = match group(call, world, &request.group_id) {
            Ok(group) => group,
            Err(error) => return answer.with_error_code(error.code()),
        };
        let now = Instant::now();
        if call.version < SEVERAL_LEAVE_SINCE {
            return answer.with_error_code(code(group.leave(&request.member_id, None, now)));
        }
        let members = request.members.into_iter().map(|member| {
            let left = group.leave(&member.member_id, member.group_instance_id.as_deref(), now);
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(code(left))
        });
        let members = members.collect();
        answer.with_members(members)
    })
}
