-- V1 foundation: schemas, the clock, refusals, public ids, actors and roles.

create schema tenure;
comment on schema tenure is 'Tables and functions of the Tenure session store.';

create schema reporting;
comment on schema reporting is 'Stable views for analysts: no secrets, readable by the role tenure_reporter.';

-- Roles belong to the whole server, so another database of it may have made this one, or be making it now.
do $$
begin
    create role tenure_reporter nologin;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise notice 'The role tenure_reporter was not made: this user may not create roles. Have it made (create role tenure_reporter nologin), then grant it what the last block of V8__reporting grants.';
end
$$;

revoke all on schema tenure, reporting from public;

-- tenure.now: the only clock of the schema. A test replaces its body; nothing else may read another clock.
create function tenure.now() returns timestamptz
    language sql volatile
    as $$ select clock_timestamp() $$;
comment on function tenure.now() is
    'The only clock of the schema. In an index condition write (select tenure.now()), which is evaluated once.';

-- tenure.refuse: ends the statement with an error a client can act on. SQLSTATE TNnnn carries the HTTP status nnn.
create function tenure.refuse(status int, code text, message text, advice text) returns void
    language plpgsql
    as $$
begin
    raise exception using errcode    = 'TN' || status,
                          constraint = code,
                          message    = message,
                          hint       = advice;
end
$$;
comment on function tenure.refuse(int, text, text, text) is
    'Refuses what was asked: SQLSTATE TN followed by the HTTP status, the stable code in the constraint field, a sentence, and what to do.';

-- tenure.uuid_v7: an id whose first 48 bits are the milliseconds of the instant (RFC 9562, version 7).
create function tenure.uuid_v7(at timestamptz) returns uuid
    language sql volatile
    as $$
    select encode(
               set_bit(set_bit(
                   overlay(uuid_send(gen_random_uuid())
                           placing substring(int8send(floor(extract(epoch from at) * 1000)::bigint) from 3)
                           from 1 for 6),
                   52, 1), 53, 1),
               'hex')::uuid
    $$;
comment on function tenure.uuid_v7(timestamptz) is 'A new UUID version 7 of an instant: ids sort by creation, and a month is a range of ids.';

-- tenure.uuid_v7_floor: the smallest version 7 id of an instant, for bounds of partitions and listings.
create function tenure.uuid_v7_floor(at timestamptz) returns uuid
    language sql immutable
    as $$
    select encode(substring(int8send(floor(extract(epoch from at) * 1000)::bigint) from 3)
                  || '\x70008000000000000000'::bytea, 'hex')::uuid
    $$;
comment on function tenure.uuid_v7_floor(timestamptz) is 'The smallest UUID version 7 of an instant: the bound of a partition or of a time filter.';

-- tenure.actor: who is doing this: the API key, console user or node that said so, else the database user.
create function tenure.actor() returns text
    language sql stable
    as $$ select coalesce(nullif(current_setting('tenure.actor', true), ''), session_user::text) $$;
comment on function tenure.actor() is 'Who acts: the setting tenure.actor of this transaction, else the session user.';

-- tenure.node: the node the statement came through, if it said so.
create function tenure.node() returns text
    language sql stable
    as $$ select nullif(current_setting('tenure.node', true), '') $$;
comment on function tenure.node() is 'The node a statement came through: the setting tenure.node of this transaction, else null.';

-- tenure.act_as: says, for the rest of this transaction, who acts, through which node, and whether by force.
create function tenure.act_as(p_actor text, p_node text, p_force boolean default false) returns boolean
    language sql volatile
    as $$
    select set_config('tenure.actor', p_actor, true) is not null
       and set_config('tenure.node', coalesce(p_node, ''), true) is not null
       and set_config('tenure.force', case when p_force then 'on' else '' end, true) is not null
    $$;
comment on function tenure.act_as(text, text, boolean) is
    'Sets actor, node and force for this transaction; in front of a write: with context as materialized (select tenure.act_as(...) as set).';

-- tenure.forced: whether the caller accepts what would be refused for its size or relation.
create function tenure.forced() returns boolean
    language sql stable
    as $$ select coalesce(current_setting('tenure.force', true), '') in ('on', 'true') $$;
comment on function tenure.forced() is
    'Whether this transaction said set local tenure.force = ''on'': a life span not above its idle limit and more than 10,000 endings are then accepted.';

-- tenure.refuse_truncate: the body of the triggers that keep TRUNCATE from skipping every row trigger.
create function tenure.refuse_truncate() returns trigger
    language plpgsql
    as $$
begin
    perform tenure.refuse(409, 'truncate_refused',
                          format('TRUNCATE of tenure.%I is refused: it would skip what must follow each row.', tg_table_name),
                          'Use DELETE or UPDATE.');
    return null;
end
$$;
comment on function tenure.refuse_truncate() is 'Refuses TRUNCATE where triggers must see every row.';

-- The history of migrations lives in schema public, under the stock tool's own unqualified name. A database user called tenure
-- finds schema tenure first in its search path, where the tool would begin a second, empty history: this view leads it back.
do $$
begin
    if to_regclass('public.refinery_schema_history') is not null then
        create view tenure.refinery_schema_history as select * from public.refinery_schema_history;
        comment on view tenure.refinery_schema_history is
            'public.refinery_schema_history, for a migration tool that connects as a user called tenure.';
        comment on column tenure.refinery_schema_history.version    is 'Version of the migration.';
        comment on column tenure.refinery_schema_history.name       is 'Its name.';
        comment on column tenure.refinery_schema_history.applied_on is 'When it was applied, RFC 3339.';
        comment on column tenure.refinery_schema_history.checksum   is 'Checksum of its text.';
    end if;
end
$$;
