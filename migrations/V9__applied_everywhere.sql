-- V9 applied_everywhere: plain SQL waits for every registered node, whatever the database's clock says of its lease.

-- tenure.applied_everywhere: whether every registered node knows what a transaction changed.
create or replace function tenure.applied_everywhere(p_xid xid8) returns boolean
    language sql volatile
    as $$
    select not exists (
        select from tenure.nodes n
         where not n.fenced
           and not pg_visible_in_snapshot(p_xid, n.applied))
    $$;
comment on function tenure.applied_everywhere(xid8) is
    'Whether every registered node has applied what the transaction changed; ask with the pg_current_xact_id() of a transaction that has committed. A node that died is waited for until another finds it silent, a minute later: a step of the database''s clock must not make it look lapsed.';
