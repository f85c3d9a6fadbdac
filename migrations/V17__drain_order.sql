-- V17 drain_order: an administrator orders a node to drain, from anywhere, and takes the order back.

comment on column tenure.nodes.draining is
    'Load balancers should lead elsewhere: ordered by tenure.drain_node, or said by the process itself because it stops. It goes on answering what arrives.';
comment on function tenure.node_state(tenure.nodes) is
    'State of a node: live, draining (while it stops, or by order) or silent.';
comment on function tenure.forced() is
    'Whether this transaction said set local tenure.force = ''on'': a life span not above its idle limit, more than 10,000 endings and draining the last live node are then accepted.';

-- tenure.drain_node: orders every process of a name to drain, or takes the order back. Each hears it with its next poll, carries it
-- through being fenced, and forgets it with its end: a process that starts is live.
create function tenure.drain_node(name text, draining boolean default true) returns int
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    as $$
declare
    v_processes int;
    v_to_change int;
    v_to_drain  boolean;
begin
    if drain_node.draining is null then
        perform tenure.refuse(422, 'invalid_value', 'Whether to drain is null.', 'Say true to drain, false to take the order back.');
    end if;
    -- Orders queue: two at once that each count on the other's node would leave none.
    perform pg_advisory_xact_lock(hashtextextended('tenure.drain_node', 0));
    -- drain_look
    select count(*), count(*) filter (where n.draining <> drain_node.draining),
           coalesce(bool_or(drain_node.draining and not n.draining and not n.fenced), false)
      into v_processes, v_to_change, v_to_drain
      from tenure.nodes n where n.name = drain_node.name;
    if v_processes = 0 then
        perform tenure.refuse(404, 'unknown_node', format('No node is called %L.', drain_node.name),
                              'List the nodes; one that was stopped has left the list.');
    end if;
    if v_to_drain and not tenure.forced()
       and not exists (select from tenure.nodes n where n.name <> drain_node.name and tenure.node_state(n) = 'live') then
        perform tenure.refuse(409, 'last_node', format('%s is the last live node: with it drained, no node says that it is ready.', drain_node.name),
                              'Start or resume another one first, or use force.');
    end if;
    if v_to_change > 0 then
        -- drain_order
        update tenure.nodes n set draining = drain_node.draining
         where n.name = drain_node.name and n.draining <> drain_node.draining;
        perform tenure.note(case when drain_node.draining then 'node_drain_ordered' else 'node_drain_lifted' end, null, null,
                            jsonb_build_object('name', drain_node.name));
    end if;
    return v_processes;
end
$$;
comment on function tenure.drain_node(text, boolean) is
    'Orders the processes of a node to drain, or with false takes the order back: each says within half a second that it is not ready, and goes on answering. How many there are, fenced ones included.';

revoke execute on all functions in schema tenure from public;
