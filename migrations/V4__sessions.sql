-- V4 sessions: users, OAuth entities, API keys, live and ended sessions, and what belongs to a session.

create table tenure.users (
    id                       bigint  generated always as identity,
    name                     text    not null,
    display_name             text,
    active                   boolean not null default true,
    locked_out               boolean not null default false,
    epoch                    bigint  not null default 0,
    roles                    text[]  not null default '{}',
    password_hash            text,
    homepage_refresh_minutes int,
    created_at               timestamptz not null default tenure.now(),
    constraint users_pkey       primary key (id),
    constraint users_name_check check (length(name) between 1 and 128
                                       and name collate "C" !~ '[[:cntrl:]\u0080-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]'
                                       and name = btrim(name)
                                       and name is nfc normalized),
    constraint users_display_name_check check (length(display_name) between 1 and 255),
    constraint users_roles_check check (cardinality(roles) <= 32 and array_position(roles, null) is null),
    constraint users_homepage_refresh_minutes_check check (homepage_refresh_minutes between 1 and 1440)
);
create unique index users_name_key on tenure.users (lower(name collate "und-x-icu"));
comment on table  tenure.users                          is 'People and integrations who may sign in. Plain SQL is welcome: triggers do what follows.';
comment on column tenure.users.id                       is 'Key inside the store; names are what people use.';
comment on column tenure.users.name                     is 'Sign-in name: 1 to 128 characters, composed form (NFC), unique regardless of case.';
comment on column tenure.users.display_name             is 'Name to show.';
comment on column tenure.users.active                   is 'Whether the user appears among active users; see glide.authenticate.only.allow.active.user.login.';
comment on column tenure.users.locked_out               is 'Locked-out users cannot sign in and have no sessions.';
comment on column tenure.users.epoch                    is 'Bumped by every lock-out and inactivation: a session of an older epoch is over.';
comment on column tenure.users.roles                    is 'Roles for the console.';
comment on column tenure.users.password_hash            is 'argon2id, for those who sign in through the store itself.';
comment on column tenure.users.homepage_refresh_minutes is 'Refresh interval of the homepage, frozen into new sessions.';
comment on column tenure.users.created_at               is 'When the row was made.';

create table tenure.oauth_entities (
    id                     bigint  generated always as identity,
    name                   text    not null,
    client_id              text    not null,
    client_secret_hash     bytea,
    access_token_lifespan  int     not null default 1800,
    refresh_token_lifespan int     not null default 8640000,
    constraint oauth_entities_pkey          primary key (id),
    constraint oauth_entities_name_key      unique (name),
    constraint oauth_entities_client_id_key unique (client_id),
    constraint oauth_entities_name_check    check (length(name) between 1 and 128),
    constraint oauth_entities_access_token_lifespan_check  check (access_token_lifespan  between 1 and 315360000),
    constraint oauth_entities_refresh_token_lifespan_check check (refresh_token_lifespan between 1 and 315360000)
);
comment on table  tenure.oauth_entities                        is 'Client applications whose sessions hold OAuth tokens.';
comment on column tenure.oauth_entities.id                     is 'Key inside the store.';
comment on column tenure.oauth_entities.name                   is 'Name of the application.';
comment on column tenure.oauth_entities.client_id              is 'OAuth client id.';
comment on column tenure.oauth_entities.client_secret_hash     is 'SHA-256 of the client secret; null for public clients.';
comment on column tenure.oauth_entities.access_token_lifespan  is 'Seconds.';
comment on column tenure.oauth_entities.refresh_token_lifespan is 'Seconds.';

create table tenure.api_keys (
    id           uuid        not null default tenure.uuid_v7(tenure.now()),
    name         text        not null,
    role         text        not null,
    key_hash     bytea       not null,
    created_at   timestamptz not null default tenure.now(),
    constraint api_keys_pkey         primary key (id),
    constraint api_keys_name_key     unique (name),
    constraint api_keys_key_hash_key unique (key_hash),
    constraint api_keys_name_check   check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint api_keys_role_check   check (role in ('admin', 'user_admin', 'app', 'reporter')),
    constraint api_keys_key_hash_check check (length(key_hash) = 32)
);
comment on table  tenure.api_keys            is 'Keys of programs that call the HTTP API; a revoked key is deleted.';
comment on column tenure.api_keys.id         is 'Public id of the key.';
comment on column tenure.api_keys.name       is 'Name of the program: the actor of what it does.';
comment on column tenure.api_keys.role       is 'What the key may do.';
comment on column tenure.api_keys.key_hash   is 'SHA-256 of the key.';
comment on column tenure.api_keys.created_at is 'When it was made.';

create table tenure.sessions (
    id                 uuid        not null,
    token_hash         bytea       not null,
    kind               text        not null,
    user_id            bigint,
    user_epoch         bigint,
    device             text,
    remember_me        boolean     not null default false,
    residue            boolean     not null default false,
    created_at         timestamptz not null,
    anchor_at          timestamptz not null,
    due_at             timestamptz not null,
    refresh_seconds    int,
    idle_limit_seconds int,
    window_seconds     int,
    oauth_entity_id    bigint,
    app_state          text,
    app_state_at       timestamptz,
    node               text,
    constraint sessions_pkey                 primary key (id),
    constraint sessions_kind_check           check (kind in ('user', 'guest', 'integration', 'mobile')),
    constraint sessions_user_id_fkey         foreign key (user_id) references tenure.users (id),
    constraint sessions_oauth_entity_id_fkey foreign key (oauth_entity_id) references tenure.oauth_entities (id),
    constraint sessions_token_hash_check     check (length(token_hash) = 32),
    constraint sessions_user_check           check ((user_id is null) = (kind = 'guest') and (user_epoch is null) = (user_id is null)),
    constraint sessions_mobile_check         check ((kind = 'mobile') = (oauth_entity_id is not null) and (kind = 'mobile') = (window_seconds is not null)),
    constraint sessions_app_state_check      check (app_state is null or app_state in ('foreground', 'task', 'background') and kind = 'mobile' and app_state_at is not null),
    constraint sessions_user_only_check      check (kind = 'user' or not remember_me and refresh_seconds is null and idle_limit_seconds is null),
    constraint sessions_residue_check        check (kind = 'guest' or not residue),
    constraint sessions_device_check         check (device in ('desktop', 'tablet', 'phone', 'app')),
    constraint sessions_refresh_seconds_check    check (refresh_seconds between 60 and 86400),
    constraint sessions_idle_limit_seconds_check check (idle_limit_seconds between 60 and 86400)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
create index sessions_due_at_idx  on tenure.sessions (due_at, id);
create index sessions_user_id_idx on tenure.sessions (user_id, id);
comment on table  tenure.sessions                    is 'Live sessions. A check moves only anchor_at, node and app_state, none of them indexed, so that its update stays HOT.';
comment on column tenure.sessions.id                 is 'Public id, UUID version 7 of the creation.';
comment on column tenure.sessions.token_hash         is 'SHA-256 of the random part of the token.';
comment on column tenure.sessions.kind               is 'user, guest, integration or mobile; never changes (K1).';
comment on column tenure.sessions.user_id            is 'Whose it is; null for guests.';
comment on column tenure.sessions.user_epoch         is 'The user''s epoch at sign-in: an older one than the user''s means the session is over.';
comment on column tenure.sessions.device             is 'desktop, tablet, phone or app; null for integrations.';
comment on column tenure.sessions.remember_me        is 'Remember Me was asked for at sign-in (A8).';
comment on column tenure.sessions.residue            is 'The guest session that a sign-out left (K4).';
comment on column tenure.sessions.created_at         is 'When it began; maximum life counts from here.';
comment on column tenure.sessions.anchor_at          is 'Activity anchor: the idle limit counts from here (A2). Only moves forward.';
comment on column tenure.sessions.due_at             is 'Lower bound of the true deadline, moved only by the sweeper and after a tightened policy.';
comment on column tenure.sessions.refresh_seconds    is 'Homepage refresh interval, frozen at sign-in (A4).';
comment on column tenure.sessions.idle_limit_seconds is 'Own idle limit of this session, in place of the property (K5).';
comment on column tenure.sessions.window_seconds     is 'Mobile window, frozen at sign-in (M2).';
comment on column tenure.sessions.oauth_entity_id    is 'Client application of a mobile session.';
comment on column tenure.sessions.app_state          is 'Last state the mobile app reported (M3).';
comment on column tenure.sessions.app_state_at       is 'When it reported it.';
comment on column tenure.sessions.node               is 'Name of the node that last counted activity.';

create table tenure.session_attributes (
    session_id     uuid   not null,
    client_address inet,
    user_agent     text,
    attributes     jsonb  not null default '{}',
    version        bigint not null default 1,
    constraint session_attributes_pkey            primary key (session_id),
    constraint session_attributes_session_id_fkey foreign key (session_id) references tenure.sessions (id) on delete cascade,
    constraint session_attributes_client_address_check check (masklen(client_address) = case family(client_address) when 4 then 32 else 128 end),
    constraint session_attributes_user_agent_check check (length(user_agent) <= 512),
    constraint session_attributes_attributes_check check (jsonb_typeof(attributes) = 'object' and octet_length(attributes::text) <= 131072)
);
comment on table  tenure.session_attributes                is 'What a check does not read: where the client is, and the app''s own payload.';
comment on column tenure.session_attributes.session_id     is 'The session it belongs to and dies with.';
comment on column tenure.session_attributes.client_address is 'Address of the client at sign-in.';
comment on column tenure.session_attributes.user_agent     is 'User agent at sign-in, cut at 512 characters.';
comment on column tenure.session_attributes.attributes     is 'The app''s payload, a JSON object.';
comment on column tenure.session_attributes.version        is 'Grows with every change of attributes, for compare-and-set.';

create unlogged table tenure.transactions (
    session_id uuid        not null,
    id         uuid        not null,
    node_id    uuid        not null,
    started_at timestamptz not null,
    constraint transactions_pkey primary key (session_id, id)
);
create index transactions_started_at_idx on tenure.transactions (started_at);
comment on table  tenure.transactions            is 'Requests being served right now: what makes a session active (C2). They lapse after 10 minutes or with the lease of their node; a crash of PostgreSQL forgets them.';
comment on column tenure.transactions.session_id is 'The session it runs for.';
comment on column tenure.transactions.id         is 'Its own id.';
comment on column tenure.transactions.node_id    is 'The node process it was opened through.';
comment on column tenure.transactions.started_at is 'When it was opened.';

create table tenure.oauth_tokens (
    session_id uuid        not null,
    token_hash bytea       not null,
    type       text        not null,
    issued_at  timestamptz not null,
    expires_at timestamptz not null,
    used_at    timestamptz,
    constraint oauth_tokens_pkey             primary key (session_id, token_hash),
    constraint oauth_tokens_session_id_fkey  foreign key (session_id) references tenure.sessions (id) on delete cascade,
    constraint oauth_tokens_token_hash_check check (length(token_hash) = 32),
    constraint oauth_tokens_type_check       check (type in ('access', 'refresh')),
    constraint oauth_tokens_expires_at_check check (expires_at > issued_at)
);
comment on table  tenure.oauth_tokens            is 'Hashed OAuth tokens: a session is their family and they die with it.';
comment on column tenure.oauth_tokens.session_id is 'The mobile session they were granted to.';
comment on column tenure.oauth_tokens.token_hash is 'SHA-256 of the token.';
comment on column tenure.oauth_tokens.type       is 'access or refresh.';
comment on column tenure.oauth_tokens.issued_at  is 'When it was issued.';
comment on column tenure.oauth_tokens.expires_at is 'When it stops being good, lifespan frozen at issue.';
comment on column tenure.oauth_tokens.used_at    is 'When a refresh token was redeemed.';

create table tenure.ended_sessions (
    id                 uuid        not null,
    token_hash         bytea       not null,
    kind               text        not null,
    user_id            bigint,
    user_name          text,
    device             text,
    remember_me        boolean     not null,
    residue            boolean     not null,
    created_at         timestamptz not null,
    anchor_at          timestamptz not null,
    refresh_seconds    int,
    idle_limit_seconds int,
    window_seconds     int,
    oauth_entity       text,
    app_state          text,
    app_state_at       timestamptz,
    node               text,
    client_address     inet,
    user_agent         text,
    ended_at           timestamptz not null,
    end_reason         text        not null,
    ended_by           text        not null,
    ended_on           text,
    constraint ended_sessions_pkey primary key (id),
    constraint ended_sessions_end_reason_check check (end_reason in (
        'idle', 'max_life', 'remember_me', 'residue', 'signed_out', 'signed_in', 'terminated', 'locked_out', 'inactivated',
        'token_reuse', 'maintenance', 'concurrent_limit'))
) partition by range (id);
create index ended_sessions_user_id_idx on tenure.ended_sessions (user_id, id);
create table tenure.ended_sessions_default partition of tenure.ended_sessions default;
comment on table  tenure.ended_sessions                    is 'Sessions that are over, by month of creation (the id says it).';
comment on table  tenure.ended_sessions_default            is 'Ended sessions of months without a partition: no ending ever fails for want of one.';
comment on column tenure.ended_sessions.id                 is 'The id it had alive.';
comment on column tenure.ended_sessions.token_hash         is 'Kept so that the holder of the token learns the reason (E2).';
comment on column tenure.ended_sessions.kind               is 'Session kind.';
comment on column tenure.ended_sessions.user_id            is 'Whose it was.';
comment on column tenure.ended_sessions.user_name          is 'The user''s name when it ended.';
comment on column tenure.ended_sessions.device             is 'Device.';
comment on column tenure.ended_sessions.remember_me        is 'Remember Me.';
comment on column tenure.ended_sessions.residue            is 'Was left by a sign-out.';
comment on column tenure.ended_sessions.created_at         is 'When it began.';
comment on column tenure.ended_sessions.anchor_at          is 'Last counted activity.';
comment on column tenure.ended_sessions.refresh_seconds    is 'Homepage refresh interval.';
comment on column tenure.ended_sessions.idle_limit_seconds is 'Own idle limit.';
comment on column tenure.ended_sessions.window_seconds     is 'Mobile window.';
comment on column tenure.ended_sessions.oauth_entity       is 'Name of the client application.';
comment on column tenure.ended_sessions.app_state          is 'Last state of the mobile app.';
comment on column tenure.ended_sessions.app_state_at       is 'When it reported it.';
comment on column tenure.ended_sessions.node               is 'Node that last counted activity.';
comment on column tenure.ended_sessions.client_address     is 'Client address at sign-in.';
comment on column tenure.ended_sessions.user_agent         is 'User agent at sign-in.';
comment on column tenure.ended_sessions.ended_at           is 'The deadline that passed, or the moment of the act that ended it.';
comment on column tenure.ended_sessions.end_reason         is 'Why (SEMANTICS 5).';
comment on column tenure.ended_sessions.ended_by           is 'Who: an API key, a console user, a database user, or the store itself.';
comment on column tenure.ended_sessions.ended_on           is 'The node it was ended through, when one was.';

create table tenure.session_events (
    id         uuid        not null,
    at         timestamptz not null,
    xid        xid8        not null default pg_current_xact_id(),
    type       text        not null,
    session_id uuid,
    user_name  text,
    actor      text        not null,
    reason     text,
    node       text,
    details    jsonb,
    constraint session_events_pkey       primary key (id),
    constraint session_events_type_check check (type ~ '^[a-z][a-z_]{0,62}$')
) partition by range (id);
create index session_events_session_id_idx on tenure.session_events (session_id, id);
create table tenure.session_events_default partition of tenure.session_events default;
comment on table  tenure.session_events            is 'Append-only: every transition of sessions, users, properties, OAuth entities and keys, written by the transaction that made it.';
comment on table  tenure.session_events_default    is 'Events of months without a partition.';
comment on column tenure.session_events.id         is 'UUID version 7 of the instant: events sort by it, and a month is a partition.';
comment on column tenure.session_events.at         is 'When.';
comment on column tenure.session_events.xid        is 'The writing transaction, for readers that must not miss late commits.';
comment on column tenure.session_events.type       is 'What happened, for instance session_ended.';
comment on column tenure.session_events.session_id is 'The session it happened to.';
comment on column tenure.session_events.user_name  is 'The user it happened to.';
comment on column tenure.session_events.actor      is 'Who did it.';
comment on column tenure.session_events.reason     is 'Why a session ended, or what the actor gave as reason.';
comment on column tenure.session_events.node       is 'The node it came through; null for plain SQL.';
comment on column tenure.session_events.details    is 'What else is worth keeping: old and new values, never a secret.';

-- tenure.make_partitions: the partitions of this month and the next two; a month whose rows already lie in the default partition is left there.
create function tenure.make_partitions() returns int
    language plpgsql
    as $$
declare
    v_parent text;
    v_month  timestamp;
    v_name   text;
    v_made   int := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('tenure.make_partitions', 0)) then
        return 0;
    end if;
    foreach v_parent in array array['ended_sessions', 'session_events'] loop
        for v_month in select date_trunc('month', tenure.now() at time zone 'UTC') + make_interval(months => n) from generate_series(0, 2) n loop
            v_name := format('%s_%s', v_parent, to_char(v_month, 'YYYY_MM'));
            continue when to_regclass('tenure.' || v_name) is not null;
            begin
                execute format('create table tenure.%I partition of tenure.%I for values from (%L) to (%L)', v_name, v_parent,
                               tenure.uuid_v7_floor(v_month at time zone 'UTC'),
                               tenure.uuid_v7_floor((v_month + interval '1 month') at time zone 'UTC'));
                execute format('comment on table tenure.%I is %L', v_name, format('Partition of %s: %s.', v_parent, to_char(v_month, 'YYYY-MM')));
                v_made := v_made + 1;
            exception
                when check_violation then
                    raise notice 'tenure.%: rows of % already lie in the default partition and stay there.', v_parent, to_char(v_month, 'YYYY-MM');
            end;
        end loop;
    end loop;
    return v_made;
end
$$;
comment on function tenure.make_partitions() is 'Makes the monthly partitions of ended sessions and events ahead of time; returns how many were made.';

select tenure.make_partitions();
