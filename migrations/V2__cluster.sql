-- V2 cluster: the registry of nodes and the log of what caches must forget.

create table tenure.nodes (
    id         uuid        not null,
    name       text        not null,
    address    text,
    version    text        not null,
    started_at timestamptz not null,
    beat       bigint      not null default 0,
    beat_at    timestamptz not null,
    swept_at   timestamptz not null,
    applied    pg_snapshot not null,
    draining   boolean     not null default false,
    fenced     boolean     not null default false,
    constraint nodes_pkey       primary key (id),
    constraint nodes_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint nodes_address_check check (length(address) <= 255)
) with (fillfactor = 50);
comment on table  tenure.nodes            is 'One row per node process, from its start until it drains or is found dead.';
comment on column tenure.nodes.id         is 'Made anew at every process start, so that no process answers for another.';
comment on column tenure.nodes.name       is 'The name operators gave the node (--node).';
comment on column tenure.nodes.address    is 'Where its HTTP API listens; null for an embedded library.';
comment on column tenure.nodes.version    is 'Version of the program.';
comment on column tenure.nodes.started_at is 'When it registered.';
comment on column tenure.nodes.beat       is 'Grows with every heartbeat; observers compare it, never its time.';
comment on column tenure.nodes.beat_at    is 'When it last beat.';
comment on column tenure.nodes.swept_at   is 'When its sweeper last found nothing left to do.';
comment on column tenure.nodes.applied    is 'Snapshot of the last poll whose invalidations it has applied: a change visible in it is known to the node.';
comment on column tenure.nodes.draining   is 'It finishes what it has and takes nothing new.';
comment on column tenure.nodes.fenced     is 'Found dead by another node: its heartbeat is refused and it must register under a new id.';

-- tenure.lease_interval: how long a node may trust what it knows after a poll; a constant of the cluster.
create function tenure.lease_interval() returns interval
    language sql immutable
    as $$ select interval '2 seconds' $$;
comment on function tenure.lease_interval() is 'The lease L: how long after sending a poll a node may act on what it learnt.';

create table tenure.invalidations (
    xid  xid8   not null default pg_current_xact_id(),
    kind "char" not null,
    key  text,
    constraint invalidations_kind_check check (kind in ('s', 'u', 'k', 'p', 'g')),
    constraint invalidations_key_check  check ((key is null) = (kind in ('p', 'g')))
);
create index invalidations_xid_idx on tenure.invalidations (xid);
comment on table  tenure.invalidations      is 'What nodes must forget, written by the transaction that made it stale; pruned once every registered node has applied it.';
comment on column tenure.invalidations.xid  is 'The writing transaction: compared with snapshots, because sequences miss late commits.';
comment on column tenure.invalidations.kind is 's session, u user, k API key, p policies, g everything.';
comment on column tenure.invalidations.key  is 'Session id, user id or API key id; null for p and g.';

-- tenure.invalidate: one log row per key, or one 'g' when a change names more than 1,000 keys.
create function tenure.invalidate(p_kind "char", p_keys text[]) returns void
    language sql volatile
    as $$
    insert into tenure.invalidations (kind, key)
    select p_kind, key from unnest(p_keys) as key where cardinality(p_keys) <= 1000
    union all
    select 'g', null where cardinality(p_keys) > 1000
    $$;
comment on function tenure.invalidate("char", text[]) is 'Logs what caches must forget; more than 1,000 keys become one row that forgets everything.';

-- tenure.applied_everywhere: whether every registered node knows what a transaction changed.
create function tenure.applied_everywhere(p_xid xid8) returns boolean
    language sql volatile
    as $$
    select not exists (
        select from tenure.nodes n
         where not n.fenced
           and n.beat_at > tenure.now() - tenure.lease_interval()
           and not pg_visible_in_snapshot(p_xid, n.applied))
    $$;
comment on function tenure.applied_everywhere(xid8) is
    'Whether every node with a live lease has applied what the transaction changed; ask with the pg_current_xact_id() of a transaction that has committed.';

-- tenure.wake: a hint for nodes that listen, so that they poll now rather than within 500 ms. Losing it costs time, never correctness.
create function tenure.wake() returns void
    language sql volatile
    as $$ select pg_notify('tenure_wake', '') $$;
comment on function tenure.wake() is 'A hint to poll at once, for nodes that listen; call it in a statement of its own after the change has committed.';
