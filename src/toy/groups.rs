//! DescribeGroups, ListGroups and DeleteGroups.

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use tokio::time::Instant;

use super::call::{Call, text};
use super::rebalance::{Group, Phase};

pub(super) fn describe(call: &Call<'_>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = call.shared.change(|world| {
        let described = request.groups.into_iter().map(|id| {
            let answer = DescribedGroup::default();
            if world.coordinator(&id) != Some(call.node) {
                return answer.with_error_code(ResponseError::NotCoordinator.code()).with_group_id(id);
            }
            match world.groups.get_mut(id.as_str()) {
                Some(group) => {
                    group.expire(Instant::now());
                    described(answer, group).with_group_id(id)
                }
                // Since version 6 a client is told that there is none; before, that it is dead.
                None if call.version >= 6 => answer
                    .with_error_code(ResponseError::GroupIdNotFound.code())
                    .with_group_state(text("Dead"))
                    .with_group_id(id),
                None => answer.with_group_state(text("Dead")).with_group_id(id),
            }
        });
        described.collect()
    });
    DescribeGroupsResponse::default().with_groups(groups)
}

fn described(answer: DescribedGroup, group: &Group) -> DescribedGroup {
    let settled = group.phase == Phase::Stable;
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id.as_str()))
            .with_group_instance_id(member.said.instance.clone().map(text))
            .with_client_id(text(member.said.client_id.as_str()))
            .with_client_host(text(member.said.client_host.as_str()))
            .with_member_metadata(member.metadata(&group.protocol))
            .with_member_assignment(if settled { member.assignment.clone() } else { Bytes::new() })
    });
    answer
        .with_group_state(text(group.phase.name()))
        .with_protocol_type(text(group.protocol_type.as_str()))
        .with_protocol_data(text(if settled { group.protocol.as_str() } else { "" }))
        .with_members(members.collect())
}

pub(super) fn list(call: &Call<'_>, request: &ListGroupsRequest) -> ListGroupsResponse {
    let world = call.shared.world();
    let states = &request.states_filter;
    let types = &request.types_filter;
    let classic = types.is_empty() || types.iter().any(|kind| kind.eq_ignore_ascii_case("classic"));
    let groups = world.groups.iter().filter(|(id, group)| {
        world.coordinator(id) == Some(call.node)
            && classic
            && (states.is_empty() || states.iter().any(|s| s.eq_ignore_ascii_case(group.phase.name())))
    });
    let groups = groups.map(|(id, group)| {
        ListedGroup::default()
            .with_group_id(GroupId(text(id.as_str())))
            .with_protocol_type(text(group.protocol_type.as_str()))
            .with_group_state(text(group.phase.name()))
            .with_group_type(text("classic"))
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) fn delete(call: &Call<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = call.shared.change(|world| {
        let results = request.groups_names.into_iter().map(|id| {
            let here = world.coordinator(&id) == Some(call.node);
            let error = match world.groups.get_mut(id.as_str()).map(|group| {
                group.expire(Instant::now());
                group.members.is_empty()
            }) {
                _ if !here => ResponseError::NotCoordinator.code(),
                None => ResponseError::GroupIdNotFound.code(),
                Some(false) => ResponseError::NonEmptyGroup.code(),
                Some(true) => {
                    world.groups.remove(id.as_str());
                    0
                }
            };
            DeletableGroupResult::default().with_group_id(id).with_error_code(error)
        });
        results.collect()
    });
    DeleteGroupsResponse::default().with_results(results)
}
